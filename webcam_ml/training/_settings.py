"""What a user may choose about training, and which values make sense."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from webcam_ml.features import (
    AUTO,
    WEIGHTS_IMAGENET,
    WEIGHTS_NONE,
    BackboneChoice,
    BackboneSpec,
    require_weights,
)
from webcam_ml.training._auto_settings import AutoSettings
from webcam_ml.training._finetune_settings import FineTuneSettings, find_machine

Strategy = Literal["linear_probe", "finetune"]
ClassWeight = Literal["none", "balanced"]


class TrainingSettings(BackboneChoice):
    """How a checkpoint is trained, on which features."""

    auto: AutoSettings = Field(
        default_factory=AutoSettings,
        description="With model_name: auto, among which backbones and within which budget",
    )
    strategy: Strategy = Field(
        default="linear_probe",
        description="linear_probe: a linear head on the frozen backbone. finetune: from there on "
        "backbone and head together, kept only if that is better on validation",
    )
    class_weight: ClassWeight = Field(
        default="none",
        description="balanced: the rarer class weighs more while fitting; calibration undoes the "
        "shift in probabilities, the ranking stays",
    )
    finetune: FineTuneSettings = Field(
        default_factory=FineTuneSettings, description="With strategy: finetune, how"
    )

    @field_validator("weights")
    @classmethod
    def _fit_all_candidates(cls, weights: str, info: ValidationInfo) -> str:
        if info.data.get("model_name") == AUTO and weights not in (WEIGHTS_IMAGENET, WEIGHTS_NONE):
            raise ValueError(
                f"weights is a file ({weights}), which fits one network only, and model_name is auto: "
                f"name that network as model_name, or set weights: {WEIGHTS_IMAGENET} (each candidate's "
                f"own) or {WEIGHTS_NONE}"
            )
        return weights

    @field_validator("auto")
    @classmethod
    def _chooses(cls, auto: AutoSettings, info: ValidationInfo) -> AutoSettings:
        name = info.data.get("model_name", AUTO)
        if name != AUTO and auto != AutoSettings():
            raise ValueError(
                f"auto has settings, and model_name is {name}, so there is nothing to choose: set "
                "model_name: auto, or leave them out"
            )
        return auto

    @field_validator("finetune")
    @classmethod
    def _has_an_effect(cls, finetune: FineTuneSettings, info: ValidationInfo) -> FineTuneSettings:
        strategy = info.data.get("strategy", "finetune")
        if strategy != "finetune" and finetune != FineTuneSettings():
            raise ValueError(
                f"finetune has settings, and strategy {strategy} would not use them: set strategy: "
                "finetune, or leave them out"
            )
        return finetune

    @property
    def backbones(self) -> tuple[BackboneSpec, ...]:
        """Whose features: one backbone's, or each candidate's with `model_name: auto`."""
        names = self.auto.candidates if self.model_name == AUTO else (self.model_name,)
        # Without an image_size of its own, each sees what it was made for.
        common = self.part(BackboneChoice).model_dump(exclude={"model_name"}, exclude_none=True)
        return tuple(BackboneSpec(model_name=name, **common) for name in names)

    def judge_before_run(self) -> None:
        """Judge whether this machine has what is asked for.

        An hour of fetching pictures must not end at a file that was never there or is of another
        network, or at a GPU that this machine does not have. What a cluster has is seen when it is there.
        """
        for backbone in self.backbones:
            require_weights(backbone)
        if self.strategy == "finetune" and self.finetune.num_workers == 1:
            find_machine(self.finetune)
