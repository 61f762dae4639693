"""The fine-tuned network against the probe: which of the two becomes the checkpoint.

Fine-tuning picks its best epoch on the validation rows, and is calibrated on them alone: no
out-of-fold prediction of it exists, because each fold would be a training of its own. Both make
its validation scores look too good. So it has to be better by more than chance explains, or the
probe stays.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from webcam_ml.dataset.images import ImageCache
from webcam_ml.features import adopt_backbone, extract_features
from webcam_ml.metrics import WebcamEstimate, paired_difference
from webcam_ml.training._calibration import best_f1_threshold, fit_platt
from webcam_ml.training._checkpoint import TrainedModel
from webcam_ml.training._finetune import FineTuned, FineTuneTask, fine_tune
from webcam_ml.training._finetune_settings import FineTuneSettings

Array = npt.NDArray[np.float64]

GAIN_CONFIDENCE = 0.90


@dataclass(frozen=True)
class Challenge:
    """A fine-tuning and its verdict.

    Attributes:
        probe: The calibrated probe that is challenged.
        tuned: The training.
        settings: How it was trained.
        model: Its network, calibrated; None if training diverged.
        val_score: [validation rows] raw_score of that model; likewise.
        gain: How much better than the probe it is on validation, in the primary metric; likewise.
        features_computed: Validation pictures that went through its backbone now.
        metric: The primary metric's name.
    """

    probe: TrainedModel
    tuned: FineTuned
    settings: FineTuneSettings
    model: TrainedModel | None
    val_score: Array | None
    gain: WebcamEstimate | None
    features_computed: int
    metric: str

    @property
    def won(self) -> bool:
        """Whether the fine-tuned network becomes the checkpoint."""
        bound = self._bound
        return bound is not None and bound > 0

    @property
    def verdict(self) -> str:
        """The decision in a sentence, with its numbers."""
        if self.gain is None:
            return f"the probe stays: fine-tuning {self.tuned.stopped}"
        bound = self._bound
        if bound is None:
            return f"the probe stays: its difference from the fine-tuned network has {self.gain.reason}"
        assert self.gain.value is not None
        better = "better" if self.gain.value >= 0 else "worse"
        numbers = (
            f"on validation its {self.metric} is {abs(self.gain.value):.4f} {better}, and with "
            f"{GAIN_CONFIDENCE:.0%} confidence over webcams the gain is above {bound:+.4f}"
        )
        if self.won:
            return f"the fine-tuned network is taken: {numbers}"
        return f"the probe stays, because the fine-tuned network may be no better: {numbers}"

    @property
    def _bound(self) -> float | None:
        return None if self.gain is None else self.gain.lower_bound(GAIN_CONFIDENCE)

    def summary(self) -> dict[str, Any]:
        """What train_summary.json says of it."""
        return {
            "settings": self.settings.model_dump(),
            "machine": asdict(self.tuned.machine),
            "metric": self.metric,
            "history": [dict(entry) for entry in self.tuned.history],
            "best_epoch": self.tuned.best_epoch,
            "stopped": self.tuned.stopped,
            "diverged": self.tuned.diverged,
            "gain": None
            if self.gain is None
            else {
                "value": _rounded(self.gain.value),
                "lower_bound": _rounded(self._bound),
                "confidence": GAIN_CONFIDENCE,
            },
            "kept": "fine_tuned" if self.won else "probe",
            "verdict": self.verdict,
        }


def challenge(
    probe: TrainedModel,
    task: FineTuneTask,
    *,
    val_score: Array,
    val_webcam: npt.NDArray[np.int64],
    settings: FineTuneSettings,
    images: ImageCache,
    cache: Path,
) -> Challenge:
    """Fine-tune, starting from the probe, and compare the two on validation.

    Args:
        probe: The calibrated probe.
        task: What fine-tuning starts from and learns from.
        val_score: [validation rows] raw_score of the probe.
        val_webcam: [validation rows] which rows share a camera.
        settings: How to train.
        images: Where the pictures are, and who computes what is made of them.
        cache: Root of the caches.

    Raises:
        WebcamMLError: As for `fine_tune`.
    """
    tuned = fine_tune(task, settings=settings, images=images, cache=cache)
    asked = probe.asked
    metric = asked.primary_metric
    if tuned.backbone is None or tuned.head is None:
        return Challenge(probe, tuned, settings, None, None, None, 0, metric)
    graph = adopt_backbone(tuned.backbone, spec=task.spec, cache=cache)
    # Scored as every model is: by the exported graph in onnxruntime.
    features = extract_features(graph, task.digests[task.train_rows :], images=images, cache=cache)
    target = task.target[task.train_rows :]
    value = tuned.head(features.values)
    calibration = fit_platt(value, target) if asked.has_classes else None
    model = replace(
        probe,
        backbone_key=graph.key,
        # Those that were rounded: what is evaluated, stored and served.
        backbone=graph.state_dict(),
        head=tuned.head.calibrated(calibration),
        calibration=calibration,
    )
    score = model.raw_score(features.values)
    if asked.has_classes:
        model = replace(model, decision_threshold=best_f1_threshold(score, target))
    first, second = asked.prediction(score), asked.prediction(val_score)
    if not asked.higher_is_better:
        first, second = second, first
    gain = paired_difference(
        metric,
        asked.prediction(target),
        first,
        second,
        webcam_id=val_webcam,
        random_state=task.spec.random_state,
    )
    return Challenge(probe, tuned, settings, model, score, gain, features.computed, metric)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
