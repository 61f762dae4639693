"""What a user may choose, asset by asset, and how Dagster shows it.

The rules are the settings' own, see `webcam_ml.contracts`. Dagster gets the type, the choices, the
default and the meaning of each field, so the Launchpad can complete fields and refuse wrong ones
before anything starts, and no run is made of a value that its field does not allow. Rules between
fields `guard` judges, before the first step.
"""

from collections.abc import Mapping
from copy import copy
from typing import Any

from dagster import (
    AssetExecutionContext,
    BoolSource,
    Enum,
    EnumValue,
    Field,
    IntSource,
    Noneable,
    StringSource,
)
from dagster._config.errors import PostProcessingError
from pydantic import Field as Setting
from pydantic import ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from webcam_ml.contracts import (
    Settings,
    SettingsError,
    SettingsT,
    allowed,
    choices,
    default_of,
    group_of,
    kind_of,
    other_beginning,
)
from webcam_ml.dataset import SplitConfig, TargetConfig
from webcam_ml.dataset.images import ImageSettings
from webcam_ml.disagreement import DisagreementSettings
from webcam_ml.evaluation import EvaluationSettings
from webcam_ml.judging import ComparisonSettings
from webcam_ml.labels import LabelQuery
from webcam_ml.monitoring import AuditSettings
from webcam_ml.rating_queue import RatingQueueSettings
from webcam_ml.training import TrainingSettings

SCALARS: Mapping[Any, Any] = {
    bool: BoolSource,
    int: IntSource,
    float: Field(float).config_type,
    str: StringSource,
}


# Fields come in the order of the bases from right to left.
class ManifestSettings(SplitConfig, TargetConfig):
    """What the model is asked, and how webcams are divided; chosen here and nowhere else."""

    merge_duplicate_webcams: bool = Setting(
        default=False,
        description="Whether webcams that show the same pictures, or are one device (custom_camera_id), go "
        "into one split. Fetches the pictures to find out",
    )
    images: ImageSettings = Setting(
        default_factory=ImageSettings,
        description="With merge_duplicate_webcams: how its pictures are fetched, as in image_index",
    )

    @field_validator("images")
    @classmethod
    def _has_an_effect(cls, images: ImageSettings, info: ValidationInfo) -> ImageSettings:
        if not info.data.get("merge_duplicate_webcams", True) and images != ImageSettings():
            raise ValueError(
                "images has an effect on manifest_full only with merge_duplicate_webcams: true, "
                "because only then does it look at pictures. Those of all later steps are fetched as "
                "image_index says"
            )
        return images


class ImageIndexSettings(ImageSettings):
    """How pictures are fetched, and which of them count."""

    keep_placeholders: bool = Setting(
        default=False,
        description='Whether "camera offline" cards are trained on like pictures; nothing is judged on them',
    )


SETTINGS_BY_ASSET: Mapping[str, type[Settings]] = {
    "labels_raw": LabelQuery,
    "manifest_full": ManifestSettings,
    "image_index": ImageIndexSettings,
    "checkpoint": TrainingSettings,
    "eval_report": EvaluationSettings,
    "disagreement_report": DisagreementSettings,
    "rating_queue": RatingQueueSettings,
    "champion_comparison": ComparisonSettings,
    "served_scores_audit": AuditSettings,
}


def config_schema(settings: type[Settings]) -> dict[str, Field]:
    """Give the config schema that shows settings to Dagster."""
    return {name: _field(settings, name) for name in settings.model_fields}


def settings_of(context: AssetExecutionContext, settings: type[SettingsT]) -> SettingsT:
    """Make an asset's settings of what the run config says about it."""
    return settings(**context.op_execution_context.op_config)


def meaning(field: FieldInfo) -> str:
    """Say what a field is for and what it may be."""
    return f"{field.description}. It must be {allowed(field)}."


def _field(settings: type[Settings], name: str) -> Field:
    field = settings.model_fields[name]
    if group := group_of(field):
        return Field(config_schema(group), description=f"{field.description}.")
    default = default_of(field)
    text = meaning(field)
    if (names := choices(field)) and not other_beginning(field):
        # Dagster's refusal of a value shows the type's name, so the name lists the choices.
        values = Enum(f"({' | '.join(names)})", [EnumValue(one) for one in names])
        return Field(values, default_value=default, description=text)
    if isinstance(default, tuple):
        return Field([StringSource], default_value=list(default), description=text)
    kind = _judged(SCALARS[kind_of(field)], settings, name)
    if kind_of(field) is not field.annotation:
        kind = Noneable(kind)
    if default is None:
        return Field(kind, is_required=False, description=text)
    return Field(kind, default_value=default, description=text)


def _judged(kind: Any, settings: type[Settings], name: str) -> Any:
    """Give a type of Dagster's that refuses what the rule of a field refuses, before a run exists.

    Dagster plans all assets of a run when it makes it, and shows them all as failed if the run then
    refuses a value. What comes from the environment is left to the run, since Dagster would show it.
    """
    judged = copy(kind)

    def post_process(value: Any) -> Any:
        made = kind.post_process(value)
        if not isinstance(value, dict) and (rule := _rule_broken_by(made, settings, name)):
            raise PostProcessingError(rule)
        return made

    judged.post_process = post_process
    return judged


def _rule_broken_by(value: Any, settings: type[Settings], name: str) -> str:
    try:
        settings(**{name: value})
    except SettingsError as error:
        return next((fault.rule for fault in error.faults if fault.place == (name,)), "")
    return ""
