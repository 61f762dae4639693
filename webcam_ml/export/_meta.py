"""model.meta.json: what a model file is, for whoever loads it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from webcam_ml.contracts import RATING_SCALE, Document, TargetType
from webcam_ml.dataset import ExportMeta
from webcam_ml.features import OPSET
from webcam_ml.training import TrainedModel

SCHEMA_VERSION: Literal[1] = 1
META_FILE = "model.meta.json"
OLDEST_RUNTIMES = {"onnxruntime": "1.19", "onnxruntime-node": "1.18", "onnxruntime-web": "1.18"}
"""Of each package the oldest version that reads what is exported here: opset 20, IR version 10."""

DOCUMENT = Document(META_FILE, made_by="onnx_model", schema_version=SCHEMA_VERSION)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class TensorMeta(_Record):
    """One input or output of the graph; named dimensions are free."""

    name: str
    type: str
    shape: tuple[int | str, ...]
    meaning: str
    colour_order: Literal["RGB"] | None = None


class CalibrationMeta(_Record):
    """The Platt scaling that is folded into the graph's head."""

    method: Literal["platt"]
    slope: float
    intercept: float


class DigestsMeta(_Record):
    """What the model was made from and measured on."""

    checkpoint: str
    test_split: str
    labels: str


class SpeakingJudge(_Record):
    """A judge whose scores were learned from, in so many rows, each with this weight."""

    name: str
    weight: float
    rows: int


class JudgesMeta(_Record):
    """The judges that were learned from beside people.

    `calibration_sha256` is the digest of what their labels were made by: both maps and the weight.
    """

    speaking: tuple[SpeakingJudge, ...]
    calibration_sha256: str

    @classmethod
    def of(cls, labels: ExportMeta) -> Self | None:
        """Take the judges that speak out of a manifest; None if its label source hears none."""
        if labels.heard is None:
            return None
        return cls(
            speaking=tuple(
                SpeakingJudge(
                    name=one.calibration.name, weight=one.calibration.weight, rows=one.rows
                )
                for one in labels.heard.judges
                if one.calibration.speaks
            ),
            calibration_sha256=labels.heard.calibration_sha256,
        )


class HeadMeta(_Record):
    """One of several heads in a file: whose it is, and the digest of the file that has it alone."""

    target_type: TargetType
    model_version: str
    sha256: str
    decision_threshold: float | None


class ModelMeta(_Record):
    """The content of model.meta.json; nothing in it varies between equal runs."""

    schema_version: Literal[1]
    model_version: str
    sha256: str
    size: int
    opset: int
    target_type: TargetType
    model_name: str
    inputs: tuple[TensorMeta, ...]
    outputs: tuple[TensorMeta, ...]
    label_scale: tuple[float, float]
    decision_threshold: float | None
    calibration: CalibrationMeta | None
    metrics: dict[str, Any]
    digests: DigestsMeta
    # Files from before 0.2 lack these: which labels were trained on, which runtimes read it, and the
    # licence of published weights (null, too, for seeded ones and for those of a file).
    label_query: dict[str, Any] | None = None
    oldest_runtimes: dict[str, str] | None = None
    weights_licence: str | None = None
    # Only where the label source hears judges.
    judges: JudgesMeta | None = Field(default=None, exclude_if=lambda judges: judges is None)
    # Only of a file with several heads. All else is said of the first.
    heads: tuple[HeadMeta, ...] | None = Field(default=None, exclude_if=lambda heads: heads is None)

    def save(self, folder: Path) -> None:
        """Write model.meta.json."""
        DOCUMENT.write(folder, self.model_dump(mode="json"))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read model.meta.json.

        Raises:
            DocumentError: It cannot be read.
        """
        return DOCUMENT.read_as(folder, cls.model_validate)

    @classmethod
    def describe(
        cls,
        model: TrainedModel,
        *,
        model_version: str,
        data: bytes,
        metrics: Mapping[str, Any],
        digests: Mapping[str, str],
        labels: ExportMeta,
        weights_licence: str | None,
    ) -> Self:
        """Describe the exported bytes of a model that was trained on these labels."""
        calibration = model.calibration
        return cls(
            schema_version=SCHEMA_VERSION,
            model_version=model_version,
            sha256=hashlib.sha256(data).hexdigest(),
            size=len(data),
            opset=OPSET,
            target_type=model.target_type,
            model_name=model.model_name,
            inputs=(
                TensorMeta(
                    name="image",
                    type="uint8",
                    shape=("batch", "height", "width", 3),
                    colour_order="RGB",
                    meaning="decoded pictures of any size, 0–255; the graph resizes and normalises",
                ),
            ),
            outputs=(
                TensorMeta(
                    name="raw_score",
                    type="float32",
                    shape=("batch",),
                    meaning=model.asked.words.raw_score,
                ),
                TensorMeta(
                    name="ai_rating",
                    type="float32",
                    shape=("batch",),
                    meaning=model.asked.words.ai_rating,
                ),
            ),
            label_scale=RATING_SCALE,
            decision_threshold=model.decision_threshold,
            calibration=None
            if calibration is None
            else CalibrationMeta(
                method="platt", slope=calibration.slope, intercept=calibration.intercept
            ),
            metrics=dict(metrics),
            digests=DigestsMeta(**digests),
            label_query=labels.query.to_dict(),
            oldest_runtimes=OLDEST_RUNTIMES,
            weights_licence=weights_licence,
            judges=JudgesMeta.of(labels),
        )
