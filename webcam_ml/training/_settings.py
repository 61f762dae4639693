"""What a user may choose about training, and which values make sense."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from webcam_ml.errors import WebcamMLError
from webcam_ml.features import BackboneSpec
from webcam_ml.training._finetune_settings import FineTuneSettings

Strategy = Literal["linear_probe", "finetune"]
ClassWeight = Literal["none", "balanced"]


@dataclass(frozen=True)
class TrainingSettings:
    """How a checkpoint is trained.

    Attributes:
        backbone: Which features.
        strategy: `linear_probe`: a linear head on the frozen backbone. `finetune`: from there on
            backbone and head together, kept only if that is better on validation.
        class_weight: `balanced` weighs rare positives up while fitting; calibration undoes the
            shift in probabilities, the ranking stays.
        finetune: How to fine-tune, for that strategy alone.

    Raises:
        WebcamMLError: An unknown strategy or class weight, or settings without effect.
    """

    backbone: BackboneSpec
    strategy: Strategy = "linear_probe"
    class_weight: ClassWeight = "none"
    finetune: FineTuneSettings = field(default_factory=FineTuneSettings)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("strategy", self.strategy, get_args(Strategy)),
            ("class_weight", self.class_weight, get_args(ClassWeight)),
        ):
            if value not in known:
                raise WebcamMLError(f"{name} {value!r} is unknown: choose {' or '.join(known)}")
        if self.strategy != "finetune" and self.finetune != FineTuneSettings():
            raise WebcamMLError(
                f"finetune has settings, and strategy {self.strategy} would not use them: set "
                "strategy: finetune, or leave them out"
            )
