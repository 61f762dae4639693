from pathlib import Path

import pytest
import torch
import yaml

from webcam_ml.contracts import group_of
from webcam_ml.orchestration.assets import ASSETS
from webcam_ml.orchestration.config import SETTINGS_BY_ASSET
from webcam_ml.orchestration.guard import (
    RunConfigError,
    as_written,
    judge_both_targets,
    judge_engine,
    judge_run_config,
)
from webcam_ml.orchestration.resources import Workspace
from webcam_ml.project import CONFIGS

NAMES = [key.to_user_string() for definition in ASSETS for key in definition.keys]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"manifest_ful": {"config": {}}}, "no asset of that name; did you mean manifest_full?"),
        ({"zebra": {"config": {}}}, "no asset of that name; there are champion_comparison, "),
        ({"manifest_train": {"config": {"seed": 1}}}, "this asset has no config"),
        ({"checkpoint": {"model_name": "resnet18"}}, "expected one key, config"),
        ({"checkpoint": {"config": "resnet18"}}, "expected fields with values"),
        (
            {"checkpoint": {"config": {"model_nam": 1}}},
            "no field model_nam; did you mean model_name?",
        ),
        (
            {"checkpoint": {"config": {"model_name": "vgg16"}}},
            "model_name is 'vgg16'; it must be resnet18, ",
        ),
        (
            {"checkpoint": {"config": {"strategy": "magic"}}},
            "strategy is 'magic'; it must be linear_probe or finetune",
        ),
        (
            {"checkpoint": {"config": {"class_weight": "most"}}},
            "class_weight is 'most'; it must be none or balanced",
        ),
        (
            {"checkpoint": {"config": {"image_size": 8}}},
            "image_size is 8; it must be a whole number from 32 to 1024",
        ),
        (
            {"checkpoint": {"config": {"strategy": "finetune", "finetune": {"epochs": 0}}}},
            "finetune: epochs is 0; it must be a whole number of at least 1",
        ),
        (
            {"checkpoint": {"config": {"strategy": "finetune", "finetune": {"epoch": 3}}}},
            "finetune: there is no field epoch; did you mean epochs[?]",
        ),
        ({"checkpoint": {"config": {"finetune": {"epochs": 3}}}}, "set strategy: finetune, or"),
        (
            {"checkpoint": {"config": {"image_size": "big"}}},
            "image_size is 'big'; it must be a whole number",
        ),
        ({"labels_raw": {"config": {"label_source": "guess"}}}, "guess"),
        ({"labels_raw": {"config": {"min_rating_count": 0}}}, "min_rating_count is 0"),
        (
            {
                "labels_raw": {
                    "config": {"label_source": "public_aggregate", "curator_sessions": ["a"]}
                }
            },
            "curator_sessions",
        ),
        (
            {"manifest_full": {"config": {"binary_threshold": 0.75}}},
            "Did you mean 4, the same on 1–5",
        ),
        (
            {"manifest_full": {"config": {"train_pct": 80}}},
            "= 110: the percentages must sum to 100",
        ),
        ({"manifest_full": {"config": {"target_type": "ternary"}}}, "binary or regression"),
        (
            {"manifest_full": {"config": {"images": {"timeout_seconds": 5}}}},
            "only with merge_duplicate_webcams: true",
        ),
        ({"image_index": {"config": {"max_failed_fraction": 2}}}, "max_failed_fraction is 2"),
        (
            {"eval_report": {"config": {"bootstrap_samples": 3}}},
            "bootstrap_samples is 3; it must be a whole number from 200",
        ),
        ({"onnx_model": {"config": {"opset": 11}}}, "opset 11 is not possible: it is always 20"),
        ({"disagreement_report": {"config": {"limit": 0}}}, "limit"),
        (
            {"disagreement_report": {"config": {"predictions": "app"}}},
            "predictions is 'app'; it must be model or database",
        ),
        ({"disagreement_report": {"config": {"model_version": "x"}}}, "predictions: database"),
    ],
)
def test_nonsense_is_refused_with_the_reason(entries: dict[str, object], message: str) -> None:
    with pytest.raises(RunConfigError, match=message):
        judge_run_config({"ops": entries}, assets=NAMES, selected=None)


def test_all_faults_are_told_at_once_whether_or_not_the_asset_is_selected() -> None:
    config = {
        "ops": {
            "manifest_ful": {"config": {}},
            "checkpoint": {"config": {"image_size": 8}},
            "labels_raw": {"config": {"min_rating_count": 0}},
        }
    }
    with pytest.raises(RunConfigError) as caught:
        judge_run_config(config, assets=NAMES, selected={"manifest_full"})
    assert str(caught.value).count("\n- ") == 3


def test_config_of_an_asset_that_is_not_selected_is_a_warning() -> None:
    config = {"ops": {"manifest_full": {"config": {"target_type": "regression"}}}}
    (warning,) = judge_run_config(config, assets=NAMES, selected={"eval_report"})
    assert "manifest_full, which is not selected: it has no effect" in warning
    assert judge_run_config(config, assets=NAMES, selected={"manifest_full"}) == []
    assert judge_run_config(config, assets=NAMES, selected=None) == []


def test_no_config_is_fine() -> None:
    assert judge_run_config({}, assets=NAMES, selected=None) == []
    assert judge_run_config({"ops": {}}, assets=NAMES, selected=None) == []
    assert (
        judge_run_config({"ops": {"checkpoint": {"config": {}}}}, assets=NAMES, selected=None) == []
    )


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_each_config_file_is_right(path: object) -> None:
    config = yaml.safe_load(path.read_text())
    if path.name == "both.yaml":
        judge_both_targets(config, assets=NAMES)
        with pytest.raises(RunConfigError, match=r"config of a job.* -j both_targets"):
            judge_run_config(config, assets=NAMES, selected=None)
    else:
        judge_run_config(config, assets=NAMES, selected=None)


def test_all_faults_of_the_config_for_both_targets_are_named_with_their_place() -> None:
    fields = {
        "manifest_full": {"target_type": "binary", "binary_threshold": 9},
        "checkpoint": {"strategy": "finetune", "model_name": "auto"},
        "labels_row": {},
    }
    with pytest.raises(RunConfigError) as caught:
        judge_both_targets({"ops": {"both_targets": {"config": fields}}}, assets=NAMES)
    said = str(caught.value)
    place = "ops: both_targets: config:"
    for fault in (
        f"{place} manifest_full: target_type has no place here",
        f"{place} manifest_full: binary_threshold",
        f"{place} checkpoint: strategy finetune",
        f"{place} checkpoint: model_name auto",
        f"{place} labels_row: there is no asset of that name",
    ):
        assert fault in said


def test_every_settings_class_has_usable_defaults_and_belongs_to_an_asset() -> None:
    for name, settings in SETTINGS_BY_ASSET.items():
        assert name in NAMES
        settings().judge_before_run()


def test_values_from_the_environment_are_judged_as_what_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = {"ops": {"manifest_full": {"config": {"seed": {"env": "SEED"}}}}}
    monkeypatch.setenv("SEED", "7")
    assert judge_run_config(config, assets=NAMES, selected=None) == []
    monkeypatch.setenv("SEED", "seven")
    with pytest.raises(RunConfigError, match=r"seed: .* found in the environment variable SEED"):
        judge_run_config(config, assets=NAMES, selected=None)


SECRET = "postgresql://ada:s3cret@db.example/sunset"
FROM_ENVIRONMENT = {"env": "DATABASE_URL"}


def _places() -> list[tuple[str, dict[str, object]]]:
    """Every field of every asset, groups and lists included, taken from the environment."""
    places: list[tuple[str, dict[str, object]]] = []
    for asset, settings in SETTINGS_BY_ASSET.items():
        for field, info in settings.model_fields.items():
            places.append((asset, {field: FROM_ENVIRONMENT}))
            if group := group_of(info):
                places += [
                    (asset, {field: {part: FROM_ENVIRONMENT}}) for part in group.model_fields
                ]
            if info.annotation == tuple[str, ...]:
                places.append((asset, {field: [FROM_ENVIRONMENT]}))
    return places


@pytest.mark.parametrize(("asset", "values"), _places(), ids=str)
def test_no_field_shows_or_takes_a_password_from_the_environment(
    asset: str, values: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", SECRET)
    with pytest.raises(RunConfigError) as caught:
        judge_run_config({"ops": {asset: {"config": values}}}, assets=NAMES, selected=None)
    for part in (SECRET, "s3cret", "postgresql"):
        assert part not in str(caught.value)


OUTSIDE_OPS = [
    *(
        {"resources": {"workspace": {"config": {field: FROM_ENVIRONMENT}}}}
        for field in Workspace.model_fields
    ),
    {"resources": {"io_manager": {"config": {"workspace": {"artifacts": FROM_ENVIRONMENT}}}}},
    {"loggers": {"console": {"config": {"name": FROM_ENVIRONMENT}}}},
]


@pytest.mark.parametrize("config", OUTSIDE_OPS, ids=str)
def test_no_folder_and_no_logger_takes_its_name_from_the_environment(
    config: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", SECRET)
    with pytest.raises(RunConfigError, match=r"found: DATABASE_URL.*WEBCAM_ML_ARTIFACTS") as caught:
        judge_run_config(config, assets=NAMES, selected=None)
    assert "s3cret" not in str(caught.value)


def test_what_is_stored_of_a_config_names_the_variable_instead_of_its_value() -> None:
    resolved = {"seed": 7, "train_pct": 70, "images": {"attempts": 3, "timeout_seconds": 5.0}}
    written = {"seed": {"env": "SEED"}, "images": {"attempts": {"env": "TRIES"}}}
    assert as_written(resolved, written) == {
        "seed": {"env": "SEED"},
        "train_pct": 70,
        "images": {"attempts": {"env": "TRIES"}, "timeout_seconds": 5.0},
    }


def test_a_weights_file_that_is_not_there_is_refused_before_anything_is_fetched() -> None:
    config = {"ops": {"checkpoint": {"config": {"weights": "/nowhere/weights.pt"}}}}
    with pytest.raises(RunConfigError, match=r"/nowhere/weights\.pt"):
        judge_run_config(config, assets=NAMES, selected=None)


def test_a_blank_is_no_reason_for_a_change_of_definition() -> None:
    config = {"ops": {"champion_comparison": {"config": {"definition_change": "  "}}}}
    with pytest.raises(RunConfigError, match="definition_change is a reason"):
        judge_run_config(config, assets=NAMES, selected=None)


def test_a_weights_file_of_another_architecture_is_refused_before_anything_is_fetched(
    tmp_path: Path,
) -> None:
    from torchvision import models

    path = tmp_path / "weights.pt"
    torch.save(models.resnet18().state_dict(), path)
    values = {"weights": str(path), "model_name": "mobilenet_v3_small"}
    with pytest.raises(RunConfigError, match=r"is not a mobilenet_v3_small: .* model_name"):
        judge_run_config({"ops": {"checkpoint": {"config": values}}}, assets=NAMES, selected=None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused_before_anything_is_fetched() -> None:
    values = {"strategy": "finetune", "finetune": {"accelerator": "gpu"}}
    with pytest.raises(RunConfigError, match="torch finds no CUDA device"):
        judge_run_config({"ops": {"checkpoint": {"config": values}}}, assets=NAMES, selected=None)


def test_processes_of_a_cluster_are_refused_where_there_is_none_before_anything_is_fetched() -> (
    None
):
    values = {"strategy": "finetune", "finetune": {"num_workers": 2}}
    config = {"ops": {"checkpoint": {"config": values}}}
    with pytest.raises(
        RunConfigError, match=r"checkpoint: config: finetune: num_workers is 2: .* ray"
    ):
        judge_engine(config, engine="local", selected=None)
    judge_engine(config, engine="ray", selected=None)
    judge_engine(config, engine="rai", selected=None)  # open_engine names it
    judge_engine(config, engine="local", selected={"labels_raw"})
