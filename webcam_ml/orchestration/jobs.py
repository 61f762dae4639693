"""Jobs: the ways in which people run the graph, each with its description."""

from typing import Any

import yaml
from dagster import AssetSelection, define_asset_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from webcam_ml.project import CONFIGS

WHOLE_GRAPH = "whole_graph"


DATA = AssetSelection.assets(
    "labels_raw", "manifest_full", "manifest_train", "manifest_val", "manifest_test", "image_index"
)
JUDGEMENT = AssetSelection.assets("eval_report", "onnx_model", "champion_comparison")
REPORT = AssetSelection.assets("disagreement_report")
QUEUE = AssetSelection.assets("rating_queue")
AUDIT = AssetSelection.assets("served_scores_audit")
# A retrain is not tried again because of what the application stored.
MAKING = AssetSelection.all() - AUDIT


def build_jobs() -> list[UnresolvedAssetJobDefinition]:
    """Make the jobs that the page and the shell offer."""
    return [
        define_asset_job(
            WHOLE_GRAPH,
            selection=MAKING,
            description="Everything but the audit of served scores, from the ratings in the label "
            "database to the report of where model and people disagree; the new model goes live if every "
            "gate says yes. Uses the defaults unless config is given.",
        ),
        define_asset_job(
            "data_only",
            selection=DATA,
            description="Reads the ratings, divides the webcams and fetches the pictures, and stops "
            "there: are the labels enough, which pictures are dead? Nothing is trained, nothing "
            "goes live.",
        ),
        define_asset_job(
            "evaluate_and_compare",
            selection=JUDGEMENT,
            description="Judges the model that was trained last once more, on the labels that it was "
            "trained from: evaluation, export, and the comparison with what is live now. For "
            "another number of resamples, other floors, or after a roll-back. It changes nothing "
            "that is live: materialize production_model afterwards to let the gates decide.",
        ),
        define_asset_job(
            "report_only",
            selection=REPORT,
            description="Makes the report of where model and people disagree again, from the model "
            "and the labels that are stored: for a longer list, or another ranking. Takes seconds "
            "and changes nothing else.",
        ),
        define_asset_job(
            "queue_only",
            selection=QUEUE,
            description="Chooses again what to rate next, from the model that is stored and the label "
            "database as it is now: after an hour of rating, or for a longer queue. Computes features "
            "of new frames only and changes nothing else.",
        ),
        define_asset_job(
            "audit_only",
            selection=AUDIT,
            description="Compares what the application stored in the last days with what the files that "
            "it names say of the same pictures: another preprocessing, a wrong version, fallbacks under a "
            "model's name. Only reads, and changes nothing else; meant for every day.",
        ),
        define_asset_job(
            "demo",
            selection=MAKING,
            config=read_config("demo.yaml"),
            description="The whole graph with configs/demo.yaml filled in: no ImageNet weights are "
            "needed. Meant for the drawn webcams of `webcam-ml demo-data`.",
        ),
    ]


def read_config(name: str) -> dict[str, Any]:
    """Read one of the run configs that come with the package."""
    config: dict[str, Any] = yaml.safe_load((CONFIGS / name).read_text())
    return config
