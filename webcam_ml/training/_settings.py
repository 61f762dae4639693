"""What a user may choose about training, and which values make sense."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from webcam_ml.features import BackboneSpec, require_weights
from webcam_ml.training._finetune_settings import FineTuneSettings, find_machine

Strategy = Literal["linear_probe", "finetune"]
ClassWeight = Literal["none", "balanced"]


class TrainingSettings(BackboneSpec):
    """How a checkpoint is trained, on which features."""

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
    def backbone(self) -> BackboneSpec:
        """Which features."""
        return self.part(BackboneSpec)

    def judge_before_run(self) -> None:
        """Judge whether this machine has what is asked for.

        An hour of fetching pictures must not end at a file that was never there or is of another
        network, or at a GPU that this machine does not have.
        """
        require_weights(self.backbone)
        if self.strategy == "finetune":
            find_machine(self.finetune)
