"""What training leaves behind: best.pt, train_summary.json, predictions.csv, loss_curve.png."""

import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from webcam_ml.contracts import (
    PREDICTIONS_TABLE,
    RATING_SCALE,
    Document,
    Target,
    TargetType,
    target_of,
)
from webcam_ml.errors import WebcamMLError
from webcam_ml.features import (
    UNREADABLE,
    BackboneGraph,
    StoreWeights,
    get_backbone,
    preprocessing,
    restore_backbone,
)
from webcam_ml.training._calibration import PlattScaling
from webcam_ml.training._probe import LinearHead

if TYPE_CHECKING:
    import torch

    from webcam_ml.features._network import ScoringNetwork

Array = npt.NDArray[np.float64]

SCHEMA_VERSION = 1
WEIGHTS_FILE = "best.pt"
TRAIN_SUMMARY = Document("train_summary.json", made_by="checkpoint")
SUBSAMPLED_FROM = "subsampled_from"
PREDICTIONS_FILE = "predictions.csv"
LOSS_CURVE_FILE = "loss_curve.png"


@dataclass(frozen=True)
class TrainedModel:
    """Everything that inference needs, as plain tensors and values.

    Attributes:
        model_name, image_size: The backbone and the side of the square it sees.
        feature_stages: Of how many of its last stages the features are.
        store_weights: How the exported graph stores its weights; they are rounded to that.
        target_type: `binary` or `regression`.
        backbone_key: Where the cache keeps the backbone's exported graph.
        backbone: Its state dict, without the final Linear.
        head: Standardisation, head and calibration in one; gives log-odds or a 0–1 rating.
        calibration: The Platt scaling that is folded into `head`; None for regression.
        decision_threshold: On raw_score, chosen on validation; None for regression.
        channel_means: The trivial baseline, a head on the three channel means.
    """

    model_name: str
    image_size: int
    feature_stages: int
    store_weights: StoreWeights
    target_type: TargetType
    backbone_key: str
    backbone: "Mapping[str, torch.Tensor]"
    head: LinearHead
    calibration: PlattScaling | None
    decision_threshold: float | None
    channel_means: LinearHead

    @property
    def asked(self) -> Target:
        """What the model is asked."""
        return target_of(self.target_type)

    def raw_score(self, features: npt.NDArray[np.float32]) -> Array:
        """Score features [rows, features] → [rows] in 0–1, as the exported graph does."""
        return self.asked.squash(self.head(features))

    def uncalibrated_score(self, features: npt.NDArray[np.float32]) -> Array | None:
        """Score as before calibration; None for regression, which has none."""
        if self.calibration is None:
            return None
        value = (self.head(features) - self.calibration.intercept) / self.calibration.slope
        return self.asked.squash(value)

    def channel_means_score(self, channel_means: npt.NDArray[np.float32]) -> Array:
        """Score by the trivial baseline: channel means [rows, 3] → [rows] in 0–1."""
        return self.asked.squash(self.channel_means(channel_means))

    def restore_graph(self, cache: Path) -> BackboneGraph:
        """Take the graph of its backbone from the caches, or export it again from its tensors."""
        return restore_backbone(
            key=self.backbone_key,
            model_name=self.model_name,
            image_size=self.image_size,
            feature_stages=self.feature_stages,
            store_weights=self.store_weights,
            state=self.backbone,
            cache=cache,
        )

    def to_network(self) -> "ScoringNetwork":
        """Rebuild the whole model in torch: uint8 images → raw_score."""
        import torch

        from webcam_ml.features._network import ScoringNetwork

        backbone = get_backbone(self.model_name)
        network = backbone.build(self.image_size, feature_stages=self.feature_stages)
        network.load_state_dict(dict(self.backbone))
        head = torch.nn.Linear(len(self.head.weight), 1)
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(self.head.weight)[None])
            head.bias.fill_(self.head.bias)
        # `ScoringNetwork` knows two of them; a change of its module would change every graph's key.
        sigmoid = self.asked.squash_operator.operator == "Sigmoid"
        return ScoringNetwork(
            preprocessing(backbone, self.image_size), network, head, binary=sigmoid
        ).eval()

    def to_bytes(self) -> bytes:
        """Serialise as best.pt; equal models give equal bytes."""
        import torch

        backbone = get_backbone(self.model_name)
        content = {
            "schema_version": SCHEMA_VERSION,
            "model_name": self.model_name,
            "image_size": self.image_size,
            "feature_stages": self.feature_stages,
            "store_weights": self.store_weights,
            "normalisation": {"mean": list(backbone.mean), "std": list(backbone.std)},
            "target_type": self.target_type,
            "label_scale": list(RATING_SCALE),
            "backbone_key": self.backbone_key,
            "backbone": dict(self.backbone),
            "head": _head_to_tensors(self.head),
            "calibration": None
            if self.calibration is None
            else {"slope": self.calibration.slope, "intercept": self.calibration.intercept},
            "decision_threshold": self.decision_threshold,
            "channel_means": _head_to_tensors(self.channel_means),
        }
        # Through a buffer: torch.save puts the name of a file into its bytes.
        buffer = io.BytesIO()
        torch.save(content, buffer)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a best.pt without running any code that it may contain.

        Raises:
            WebcamMLError: Not such a file, or one of another schema.
        """
        import torch

        try:
            content: dict[str, Any] = torch.load(
                io.BytesIO(data), map_location="cpu", weights_only=True
            )
            found = content["schema_version"]
            if found != SCHEMA_VERSION:
                raise WebcamMLError(
                    f"{WEIGHTS_FILE} has schema {found}, this version of webcam-ml reads "
                    f"{SCHEMA_VERSION}: "
                    + (
                        "a later one wrote it, so upgrade webcam-ml"
                        if found > SCHEMA_VERSION
                        else "materialize checkpoint again"
                    )
                )
            calibration = content["calibration"]
            return cls(
                model_name=content["model_name"],
                image_size=content["image_size"],
                # Before there was a choice, the last stage was taken, and no weight was rounded.
                feature_stages=content.get("feature_stages", 1),
                store_weights=content.get("store_weights", "fp32"),
                target_type=content["target_type"],
                backbone_key=content["backbone_key"],
                backbone=content["backbone"],
                head=_head_from_tensors(content["head"]),
                calibration=None if calibration is None else PlattScaling(**calibration),
                decision_threshold=content["decision_threshold"],
                channel_means=_head_from_tensors(content["channel_means"]),
            )
        except pickle.UnpicklingError as error:
            raise WebcamMLError(
                f"{WEIGHTS_FILE} holds more than plain tensors and values, and loading it could run "
                "code: refused. It was not written by this project"
            ) from error
        except UNREADABLE as error:
            raise WebcamMLError(
                f"{WEIGHTS_FILE} cannot be read ({type(error).__name__}: {error}): materialize "
                "checkpoint again"
            ) from error


@dataclass(frozen=True)
class Checkpoint:
    """A trained model with the account of its training.

    Attributes:
        weights: The bytes of best.pt.
        summary: The content of train_summary.json.
        predictions: raw_score of every train row, out of fold, and of every validation row. `kind`
            is `out_of_fold` or `held_out`; `out_of_fold_probe` where the model is a fine-tuned one,
            of which no out-of-fold prediction exists.
        loss_curve: The PNG of loss_curve.png; None if nothing was fine-tuned.
    """

    weights: bytes
    summary: Mapping[str, Any]
    predictions: pl.DataFrame
    loss_curve: bytes | None = None

    @property
    def is_of_subsample(self) -> bool:
        """Whether there were more training rows than are trained on, so that some have no prediction."""
        return SUBSAMPLED_FROM in self.summary

    @cached_property
    def model(self) -> TrainedModel:
        """The model in best.pt."""
        return TrainedModel.from_bytes(self.weights)

    def save(self, folder: Path) -> None:
        """Write the files."""
        (folder / WEIGHTS_FILE).write_bytes(self.weights)
        TRAIN_SUMMARY.write(folder, self.summary)
        PREDICTIONS_TABLE.write(self.predictions, folder / PREDICTIONS_FILE)
        if self.loss_curve is not None:
            (folder / LOSS_CURVE_FILE).write_bytes(self.loss_curve)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the files.

        Raises:
            DocumentError: train_summary.json cannot be read.
            TableError: predictions.csv lacks a column that is needed.
        """
        curve = folder / LOSS_CURVE_FILE
        return cls(
            weights=(folder / WEIGHTS_FILE).read_bytes(),
            summary=TRAIN_SUMMARY.read(folder),
            predictions=PREDICTIONS_TABLE.read(folder / PREDICTIONS_FILE),
            loss_curve=curve.read_bytes() if curve.exists() else None,
        )


def _head_to_tensors(head: LinearHead) -> "dict[str, torch.Tensor]":
    import torch

    # float32 as in the exported graph; float64 would promise digits that no score has.
    return {
        "weight": torch.tensor(head.weight, dtype=torch.float32)[None],
        "bias": torch.tensor([head.bias], dtype=torch.float32),
    }


def _head_from_tensors(tensors: "Mapping[str, torch.Tensor]") -> LinearHead:
    return LinearHead(
        weight=tensors["weight"][0].numpy().astype(np.float64), bias=float(tensors["bias"][0])
    )
