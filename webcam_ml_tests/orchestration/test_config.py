"""One declaration of each setting, as the checks, the Dagster page and the documentation show it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import DagsterInstance, DagsterInvalidConfigError, validate_run_config
from dagster._core.test_utils import in_process_test_workspace
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceRequestContext
from dagster_graphql.test.utils import execute_dagster_graphql

from webcam_ml.contracts import (
    Settings,
    SettingsError,
    choices,
    default_of,
    kind_of,
    other_beginning,
)
from webcam_ml.orchestration.assets import ASSETS
from webcam_ml.orchestration.build import build_definitions
from webcam_ml.orchestration.config import SETTINGS_BY_ASSET, ManifestSettings
from webcam_ml.orchestration.guard import (
    RunConfigError,
    fields_for,
    judge_run_config,
    sentences_about,
)
from webcam_ml.orchestration.settings_table import with_table
from webcam_ml.training import AutoSettings, FineTuneSettings, TrainingSettings
from webcam_ml_tests.integration.project import REPOSITORY

# Dagster's own modules use what their libraries deprecate.
pytestmark = pytest.mark.filterwarnings("default")

EARLIER = Path(__file__).with_name("config_v0_1.yaml")
PAGE = REPOSITORY / "docs" / "configuration.md"
NAMES = [key.to_user_string() for definition in ASSETS for key in definition.keys]
ALL_SETTINGS = {*SETTINGS_BY_ASSET.values(), AutoSettings, FineTuneSettings}
FIELDS = [
    pytest.param(settings, name, id=f"{settings.__name__}.{name}")
    for settings in sorted(ALL_SETTINGS, key=lambda settings: settings.__name__)
    for name in settings.model_fields
]
PIPELINE = """{
  repositoryLocationName: $location, repositoryName: "__repository__", pipelineName: "__ASSET_JOB"
}"""
VALID = f"""query ($config: RunConfigData, $location: String!) {{
  isPipelineConfigValid(pipeline: {PIPELINE}, runConfigData: $config, mode: "default") {{
    __typename
    ... on RunConfigValidationInvalid {{ errors {{ message reason }} }}
  }}
}}"""
LAUNCH = f"""mutation ($config: RunConfigData, $location: String!) {{
  launchPipelineExecution(
    executionParams: {{selector: {PIPELINE}, runConfigData: $config, mode: "default"}}
  ) {{
    __typename
    ... on PythonError {{ message }}
  }}
}}"""
SCHEMA = f"""query ($location: String!) {{
  runConfigSchemaOrError(selector: {PIPELINE}) {{
    ... on RunConfigSchema {{
      allConfigTypes {{
        ... on EnumConfigType {{ givenName values {{ value }} }}
        ... on CompositeConfigType {{
          fields {{ name description isRequired defaultValueAsJson configType {{
            ... on EnumConfigType {{ values {{ value }} }} }} }}
        }}
      }}
    }}
  }}
}}"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkspaceRequestContext]:
    origin = LoadableTargetOrigin(module_name="webcam_ml.definitions")
    home = str(tmp_path_factory.mktemp("home"))
    with (
        DagsterInstance.local_temp(home) as instance,
        in_process_test_workspace(instance, origin) as workspace,
    ):
        yield workspace


def ask(page: WorkspaceRequestContext, query: str, **variables: object) -> Any:
    (location,) = page.code_location_names
    answer = execute_dagster_graphql(page, query, {"location": location, **variables})
    assert not answer.errors
    (data,) = answer.data.values()
    return data


def config_of(asset: str, **fields: object) -> dict[str, Any]:
    return {"ops": {asset: {"config": fields}}}


def test_the_page_knows_choices_defaults_and_what_each_field_may_be(
    page: WorkspaceRequestContext,
) -> None:
    shown = {
        field["name"]: field
        for kind in ask(page, SCHEMA)["allConfigTypes"]
        for field in kind.get("fields", ())
    }
    assert shown["strategy"]["configType"]["values"] == [
        {"value": "linear_probe"},
        {"value": "finetune"},
    ]
    for settings in ALL_SETTINGS:
        for name, info in settings.model_fields.items():
            field = shown[name]
            names = [one["value"] for one in field["configType"].get("values", ())]
            assert names == ([] if other_beginning(info) else list(choices(info))), name
            assert not field["isRequired"]
            assert field["description"]
    assert "from 32 to 1024" in shown["image_size"]["description"]


@pytest.mark.parametrize(
    ("asset", "fields", "message"),
    [
        ("checkpoint", {"strategy": "fin"}, "(linear_probe | finetune)"),
        ("checkpoint", {"strategy": "fin"}, "root:ops:checkpoint:config:strategy"),
        ("checkpoint", {"strategy": "fine"}, "(linear_probe | finetune)"),
        ("checkpoint", {"finetune": {"precision": "8"}}, "precision"),
        ("checkpoint", {"image_size": "big"}, "image_size"),
        ("labels_raw", {"label_source": "guess"}, "label_source"),
        ("manifest_full", {"seeds": 1}, "seeds"),
    ],
)
def test_the_page_marks_before_launch(
    page: WorkspaceRequestContext, asset: str, fields: dict[str, object], message: str
) -> None:
    answer = ask(page, VALID, config=config_of(asset, **fields))
    assert answer["__typename"] == "RunConfigValidationInvalid"
    assert message in " ".join(error["message"] for error in answer["errors"])


@pytest.mark.parametrize(
    ("asset", "fields"),
    [
        ("checkpoint", {"strategy": "finetune", "finetune": {"epochs": 3, "learning_rate": 1}}),
        ("labels_raw", {"curator_sessions": ["anna"]}),
        ("manifest_full", {"binary_threshold": 4, "seed": {"env": "PATH"}}),
        ("onnx_model", {"opset": 20}),
    ],
)
def test_the_page_accepts(
    page: WorkspaceRequestContext, asset: str, fields: dict[str, object]
) -> None:
    answer = ask(page, VALID, config=config_of(asset, **fields))
    assert answer == {"__typename": "PipelineConfigValidationValid"}


@pytest.mark.parametrize(
    ("asset", "fields", "rule"),
    [
        ("checkpoint", {"image_size": 3}, "it must be a whole number from 32 to 1024"),
        ("checkpoint", {"finetune": {"epochs": 0}}, "it must be a whole number"),
        ("checkpoint", {"model_name": "resnet17"}, "it must be resnet18, "),
        ("champion_comparison", {"max_auc_loss": -0.5}, "it must be a number"),
        ("image_index", {"images": 1, "max_bytes": -1}, ""),
    ],
)
def test_one_bad_value_makes_no_run_in_which_every_asset_failed(
    page: WorkspaceRequestContext, asset: str, fields: dict[str, object], rule: str
) -> None:
    before = page.instance.get_runs_count()
    answer = ask(page, LAUNCH, config=config_of(asset, **fields))
    assert answer["__typename"] != "LaunchRunSuccess"
    assert rule in answer.get("message", "")
    assert page.instance.get_runs_count() == before


def test_a_value_from_the_environment_is_left_to_the_run_which_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIZE", "31")
    job = build_definitions().resolve_implicit_global_asset_job_def()
    config = config_of("checkpoint", image_size={"env": "SIZE"})
    validate_run_config(job, config)
    with pytest.raises(RunConfigError, match="not shown"):
        judge_run_config(config, assets=NAMES, selected=None)


def test_a_rule_between_fields_is_left_to_the_run() -> None:
    job = build_definitions().resolve_implicit_global_asset_job_def()
    validate_run_config(job, config_of("manifest_full", val_pct=5))


def test_each_asset_shows_the_settings_that_the_guard_judges() -> None:
    for definition in ASSETS:
        (asset,) = (key.to_user_string() for key in definition.keys)
        fields = getattr(definition.op.config_schema.config_type, "fields", {})
        settings = SETTINGS_BY_ASSET.get(asset)
        assert list(fields) == (list(settings.model_fields) if settings else [])


def test_the_table_of_the_documentation_is_the_one_that_follows_from_the_declarations() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == with_table(text)


def test_all_faults_of_a_config_are_named_also_within_one_asset() -> None:
    config = config_of(
        "manifest_full", target_type="ternary", val_pct=5, seed="x", images={"attempts": 0}, zone=1
    )
    with pytest.raises(RunConfigError) as caught:
        judge_run_config(config, assets=NAMES, selected=None)
    for fault in (
        "target_type is 'ternary'", "= 90: the percentages must sum to 100", "seed is 'x'",
        "images: attempts is 0", "there is no field zone",
    ):  # fmt: skip
        assert fault in str(caught.value)
    assert str(caught.value).count("\n- ") == 5


def test_every_field_of_version_0_1_means_what_it_meant(page: WorkspaceRequestContext) -> None:
    config = yaml.safe_load(EARLIER.read_text(encoding="utf-8"))
    assert ask(page, VALID, config=config) == {"__typename": "PipelineConfigValidationValid"}
    (warning,) = judge_run_config(config, assets=NAMES, selected=None)
    assert "opset is no setting any more" in warning
    for asset, settings in SETTINGS_BY_ASSET.items():
        assert settings(**fields_for(asset, config)) == settings()


def test_a_choice_from_the_environment_as_version_0_1_took_it_is_refused_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MODEL", "resnet18")
    config = config_of("checkpoint", model_name={"env": "MODEL"}, image_size=8)
    with pytest.raises(RunConfigError) as caught:
        judge_run_config(config, assets=NAMES, selected=None)
    assert "model_name: one of resnet18, " in str(caught.value)
    assert "cannot come from the environment" in str(caught.value)
    assert "write it out" in str(caught.value)
    assert "image_size is 8" in str(caught.value)
    assert str(caught.value).count("\n- ") == 2


def test_a_config_that_dagster_refuses_is_told_whole_without_a_trace() -> None:
    job = build_definitions().resolve_implicit_global_asset_job_def()
    config = config_of("labels_raw", min_ratings=2, min_rating_count=0)
    with pytest.raises(DagsterInvalidConfigError) as caught:
        validate_run_config(job, config)
    told = sentences_about(caught.value, assets=NAMES)
    assert told is not None
    _, *faults = told.splitlines()
    assert [fault.partition(";")[0] for fault in faults] == [
        "- ops: labels_raw: config: min_rating_count is 0",
        "- ops: labels_raw: config: there is no field min_ratings",
    ]
    assert sentences_about(ValueError("another"), assets=NAMES) is None


def test_a_config_of_an_earlier_version_is_warned_of_what_is_no_setting_any_more() -> None:
    (warning,) = judge_run_config(config_of("onnx_model", opset=20), assets=NAMES, selected=None)
    assert "opset is no setting any more: it is always 20" in warning


@pytest.mark.parametrize(("settings", "name"), FIELDS)
def test_each_rule_refuses_what_it_does_not_allow_and_accepts_its_limits(
    settings: type[Settings], name: str
) -> None:
    field = settings.model_fields[name]
    bounds = {
        bound: getattr(rule, bound)
        for rule in field.metadata
        for bound in ("ge", "gt", "le", "lt")
        if hasattr(rule, bound)
    }
    kind = kind_of(field)
    outside = {"ge": -1, "gt": 0, "le": 1, "lt": 0}
    wrong: list[object] = [object()]
    if kind is field.annotation:
        wrong.append(None)
    wrong += [kind(limit + outside[bound]) for bound, limit in bounds.items()]
    wrong += [f"{one}x" for one in choices(field)]
    if kind in (int, float):
        wrong += [True, "1", float("nan"), float("inf")]
    for value in wrong:
        with pytest.raises(SettingsError) as caught:
            settings(**{name: value})
        assert any(str(fault).startswith(f"{name} is ") for fault in caught.value.faults)
    for bound in {"ge", "le"} & bounds.keys():
        # What is right alone may be wrong beside the others.
        if not name.endswith(("_pct", "external_weight")):
            settings(**{name: kind(bounds[bound])})


@pytest.mark.parametrize(("settings", "name"), FIELDS)
def test_the_default_is_one_of_the_allowed_values_and_what_a_notebook_gets(
    settings: type[Settings], name: str
) -> None:
    default = default_of(settings.model_fields[name])
    made = settings()
    assert default is None or getattr(made, name) == default
    assert made == settings(**{name: getattr(made, name)})
    assert hash(made) == hash(settings())


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        TrainingSettings().strategy = "finetune"


def test_parts_of_settings_are_the_settings_of_their_rooms() -> None:
    training = TrainingSettings(model_name="mobilenet_v3_small", image_size=64, strategy="finetune")
    (backbone,) = training.backbones
    assert backbone.model_dump() == {
        "model_name": "mobilenet_v3_small", "weights": "imagenet", "image_size": 64, "random_state": 0,
        "allow_noncommercial_weights": False, "feature_stages": 3, "store_weights": "fp16",
    }  # fmt: skip
    assert ManifestSettings(seed=3).seed == 3
