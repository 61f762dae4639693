"""A small world to train on without a database: drawn pictures, labels, and caches around them."""

import io
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
from filelock import FileLock
from PIL import Image

from webcam_ml.contracts import LABELS_TABLE, WEBCAM_COLUMNS
from webcam_ml.dataset import (
    Manifest,
    RowsWithPictures,
    SplitConfig,
    TargetConfig,
    build_manifest,
    rows_with_pictures,
)
from webcam_ml.dataset.images import ImageCache, ImageIndex, ImageSettings, build_image_index
from webcam_ml.evaluation import evaluate_checkpoint
from webcam_ml.export import ExportedModel, export_candidate
from webcam_ml.features import BackboneSpec, prepare_backbone
from webcam_ml.labels import LabelCounts, LabelQuery, Labels
from webcam_ml.training import Checkpoint, TrainingResult, TrainingSettings, train

# The smallest network at a small size: what is proved does not depend on either.
SPEC = BackboneSpec(model_name="mobilenet_v3_small", weights="none", image_size=64)
# Where what is shared by all tests of a run lies; conftest sets it.
SHARED_VARIABLE = "WEBCAM_ML_TESTS_SHARED"
T = TypeVar("T")
SIZES = ((96, 64), (64, 64), (80, 45))


def share_backbones(cache: Path) -> None:
    """Let a fresh cache begin with the exported backbone of `SPEC`, which the whole run makes once."""
    shared = Path(os.environ[SHARED_VARIABLE])
    with FileLock(shared / "backbones.lock"):
        prepare_backbone(SPEC, cache=shared)
        cache.mkdir(parents=True, exist_ok=True)
        if not (cache / "backbones").exists():
            (cache / "backbones").symlink_to(shared / "backbones", target_is_directory=True)


def made_once(name: str, make: Callable[[Path], T]) -> T:
    """Make something in a folder of its own, once for all processes of a run."""
    folder = Path(os.environ[SHARED_VARIABLE]) / name
    kept = folder / "made.pickle"
    with FileLock(f"{folder}.lock"):
        if not kept.exists():
            folder.mkdir()
            kept.write_bytes(pickle.dumps(make(folder)))
    value: T = pickle.loads(kept.read_bytes())  # noqa: S301  this run wrote it
    return value


def make_labels(
    *, webcams: int = 40, per_webcam: int = 4, seed: int = 0, folder: Path = Path("/pictures")
) -> Labels:
    """Labels without pictures: ratings 1 to 5 that differ from webcam to webcam."""
    random = np.random.default_rng(seed)
    rows = webcams * per_webcam
    webcam = np.repeat(np.arange(1000, 1000 + webcams), per_webcam)
    beauty = np.repeat(random.normal(size=webcams), per_webcam) + random.normal(size=rows)
    rating = np.clip(np.round(2.4 + 1.3 * beauty), 1, 5)
    frame = pl.DataFrame(
        {
            "snapshot_id": np.arange(1, rows + 1),
            "webcam_id": webcam,
            "label_source": "manual_only",
            "label_value": rating,
            "rating_count": 1,
            "image_path_or_url": [str(folder / f"{i}.jpg") for i in range(1, rows + 1)],
            "phase": random.choice(["sunrise", "sunset"], rows),
            "captured_at": [f"2026-02-{1 + i % 28:02d}T17:00:00Z" for i in range(rows)],
            "cached_rating": rating,
            "fresh_rating": rating,
            **{f"stars_{star}": (rating == star).astype(np.int64) for star in range(1, 6)},
            **dict.fromkeys(column.name for column in WEBCAM_COLUMNS),
            "webcam_title": [f"Webcam {i}" for i in webcam],
            "webcam_source": random.choice(["windy", "custom"], rows),
        },
    ).cast(LABELS_TABLE.schema)
    return Labels(
        frame=frame.select(LABELS_TABLE.names),
        query=LabelQuery(),
        drops={},
        counts=LabelCounts(
            snapshots=rows, rated_snapshots=rows, cached_only_snapshots=0, rating_counts={1: rows}
        ),
    )


def draw(rating: float, seed: int) -> bytes:
    """A JPEG whose contrast, not its colour, grows with the rating."""
    random = np.random.default_rng(seed)
    width, height = SIZES[seed % len(SIZES)]
    tint = random.uniform(60, 180, 3)
    y, x = np.mgrid[0:height, 0:width]
    waves = np.sin(x / random.uniform(3, 6) + random.uniform(0, 6)) * np.sin(y / 5)
    picture = tint + (4 + 12 * rating) * waves[..., None] + random.normal(0, 14, (height, width, 3))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@dataclass(frozen=True)
class World:
    labels: Labels
    manifest: Manifest
    index: ImageIndex
    images: ImageCache
    cache: Path

    def rows(self, split: str) -> RowsWithPictures:
        return rows_with_pictures(self.manifest.split(split), self.index)

    def train(
        self, cache: Path | None = None, spec: BackboneSpec = SPEC, **settings: object
    ) -> TrainingResult:
        return train(
            self.rows("train"),
            self.rows("val"),
            meta=self.manifest.meta,
            settings=TrainingSettings(**spec.model_dump(), **settings),
            images=self.images,
            cache=cache or self.cache,
        )

    def export(
        self, checkpoint: Checkpoint, cache: Path | None = None, bootstrap_samples: int = 200
    ) -> ExportedModel:
        cache = cache or self.cache
        report = evaluate_checkpoint(
            checkpoint,
            self.manifest.split("val"),
            self.manifest.split("test"),
            self.index,
            images=self.images,
            cache=cache,
            bootstrap_samples=bootstrap_samples,
        ).report
        return export_candidate(
            checkpoint,
            report,
            self.index,
            labels=self.manifest.meta,
            images=self.images,
            cache=cache,
        )


def make_world(
    folder: Path, *, target: TargetConfig | None = None, labels: Labels | None = None
) -> World:
    """Draw the pictures of labels and index them."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    labels = labels or make_labels(folder=pictures)
    for row in labels.frame.iter_rows(named=True):
        path = Path(row["image_path_or_url"])
        if not path.exists():
            path.write_bytes(draw(row["label_value"], row["snapshot_id"]))
    share_backbones(folder / "cache")
    images = ImageCache(folder / "cache")
    manifest = build_manifest(
        labels, target=target, split=SplitConfig(train_pct=60, val_pct=20, test_pct=20)
    )
    index = build_image_index(manifest.frame, cache=images, settings=ImageSettings())
    return World(labels, manifest, index, images, folder / "cache")
