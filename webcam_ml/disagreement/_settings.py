"""What the report may be asked for, judged before any row is looked at."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, ValidationInfo, field_validator

from webcam_ml.contracts import Settings, WrittenOut

Ranking: TypeAlias = Literal["expected_correction", "abs_diff"]
PredictionSource: TypeAlias = Literal["model", "database"]

LARGEST_LIMIT = 10_000
FEWEST_BOOTSTRAP_SAMPLES = 100


class DisagreementSettings(Settings):
    """How many rows are listed, in which order, and how the summaries are measured."""

    limit: int = Field(
        default=200,
        ge=1,
        le=LARGEST_LIMIT,
        description="How many rows the report lists, worst first; summaries count all rows whatever "
        "it is. The relabel queue has as many, and at most 500",
    )
    ranking: Ranking = Field(
        default="expected_correction",
        description="expected_correction: how far the label would be expected to move if many more "
        "people rated it; abs_diff: the plain difference",
    )
    predictions: PredictionSource = Field(
        default="model",
        description="model: what the candidate says, out-of-fold for train rows; database: what the "
        "application recorded, for auditing production",
    )
    model_version: Annotated[str, WrittenOut()] = Field(
        default="",
        description="With predictions: database, whose records; empty: the live model's of the same "
        "target type",
    )
    record_inferences: bool = Field(
        default=False,
        description="Write the candidate's scores into snapshot_ai_inferences under its own name",
    )
    near_threshold_margin: float = Field(
        default=0.1,
        ge=0,
        le=0.5,
        description="Binary: a raw_score at most so far from the decision threshold counts as near it",
    )
    bootstrap_samples: int = Field(
        default=2000,
        ge=FEWEST_BOOTSTRAP_SAMPLES,
        description="Resamples of the webcams behind each interval of the summaries",
    )
    random_state: int = Field(default=0, ge=0, description="Seed of the resamples")

    @field_validator("model_version")
    @classmethod
    def _has_an_effect(cls, model_version: str, info: ValidationInfo) -> str:
        model_version = model_version.strip()
        if model_version and info.data.get("predictions", "database") != "database":
            raise ValueError(
                f"model_version {model_version!r} has no effect with predictions: model, which "
                "compares the candidate. Set predictions: database to audit what the application "
                "recorded under that version, or leave model_version empty"
            )
        return model_version
