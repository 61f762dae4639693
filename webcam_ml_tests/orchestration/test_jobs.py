"""What a person finds on the lineage page and in the list of jobs."""

from functools import cache

import pytest
from dagster import AssetKey, AssetSelection, Definitions
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

from webcam_ml.orchestration.build import build_definitions

# Dagster's own modules use what their libraries deprecate.
pytestmark = pytest.mark.filterwarnings("default")

DATA = {
    "labels_raw",
    "manifest_full",
    "manifest_train",
    "manifest_val",
    "manifest_test",
    "image_index",
}
JUDGEMENT = {"eval_report", "onnx_model", "champion_comparison"}
REST = {"checkpoint", "disagreement_report", "rating_queue", "production_model"}
JOBS = {
    "whole_graph": DATA | JUDGEMENT | REST,
    "data_only": DATA,
    "evaluate_and_compare": JUDGEMENT,
    "report_only": {"disagreement_report"},
    "queue_only": {"rating_queue"},
    "audit_only": {"served_scores_audit"},
    "demo": DATA | JUDGEMENT | REST,
}


@cache
def definitions() -> Definitions:
    return build_definitions()


@cache
def graph() -> AssetGraph:
    return definitions().resolve_asset_graph()


@pytest.mark.parametrize("name", JOBS)
def test_a_job_makes_what_its_name_says_and_runs_every_check_of_it(name: str) -> None:
    job = definitions().resolve_job_def(name)
    made = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert made == JOBS[name]
    checked = {key for key in graph().asset_check_keys if key.asset_key.to_user_string() in made}
    assert set(job.asset_layer.asset_graph.asset_check_keys) == checked
    assert job.description


def test_the_selection_that_the_readme_shows_makes_what_the_job_of_judgement_makes() -> None:
    selected = AssetSelection.from_string("eval_report+").resolve(graph())
    assert {key.to_user_string() for key in selected} == JOBS["evaluate_and_compare"]


def test_what_changes_the_live_model_is_in_no_job_that_only_looks() -> None:
    changing = {
        key.to_user_string()
        for key in graph().get_all_asset_keys()
        if graph().get(key).tags.get("changes") == "live-model"
    }
    assert changing == {"production_model"}
    for name in ("data_only", "evaluate_and_compare", "report_only", "queue_only", "audit_only"):
        assert not JOBS[name] & changing


def test_every_asset_and_check_explains_itself() -> None:
    for key in graph().get_all_asset_keys():
        node = graph().get(key)
        assert node.description, key
        assert node.owners, key
        assert node.kinds, key
        assert node.group_name != "default", key
    for check in graph().asset_check_keys:
        assert graph().get_check_spec(check).description, check


def test_the_tag_for_the_test_split_is_on_all_that_reads_it_and_nothing_that_trains() -> None:
    test_split = AssetKey("manifest_test")
    readers = {test_split, *graph().get(test_split).child_keys}
    tagged = {
        key
        for key in graph().get_all_asset_keys()
        if graph().get(key).tags.get("reads") == "test-split"
    }
    assert tagged == readers
    assert AssetKey("checkpoint") not in readers
