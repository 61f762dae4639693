"""An application that scores the pictures of its snapshots and stores what came out, right or wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import polars as pl
import sqlalchemy as sa
from PIL import Image

from webcam_ml.dataset.images import ImageCache
from webcam_ml.export import MODEL_FILE, ExportedModel
from webcam_ml.labels import LabelDatabase
from webcam_ml.monitoring import AuditSettings, ServedAudit, audit_served_scores
from webcam_ml.scoring import OnnxModel, Score
from webcam_ml.store import ArtifactStore
from webcam_ml_tests.label_schema import (
    INFERENCES,
    Rows,
    create_schema,
    insert_rows,
    snapshot,
    webcam,
)
from webcam_ml_tests.live.models import Made

Pixels = npt.NDArray[np.uint8]
Prepare = Callable[[bytes], Pixels]
AI_COLUMNS = (
    "ai_regression_score numeric", "ai_model_version_regression text", "ai_binary_score numeric",
    "ai_binary_is_sunset boolean", "ai_model_version_binary text", "scoring_path text",
)  # fmt: skip


def decoded(content: bytes) -> Pixels:
    """Decode as an application does that has another decoder than we have."""
    with Image.open(BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"))


def encoded_again(content: bytes, quality: int = 85) -> Pixels:
    """Decode a copy that a server on the way has made."""
    buffer = BytesIO()
    Image.fromarray(decoded(content)).save(buffer, "JPEG", quality=quality)
    return decoded(buffer.getvalue())


def sharpened(content: bytes, size: float = 0.9) -> Pixels:
    """Decode and resize a little by Lanczos, as sharp does."""
    picture = Image.fromarray(decoded(content))
    smaller = (round(picture.width * size), round(picture.height * size))
    return np.asarray(picture.resize(smaller, Image.Resampling.LANCZOS))


def cropped_and_not_normalised(content: bytes) -> Pixels:
    """The mistake of the original: `cover` crops, and the network sees 0 to 1."""
    pixels = decoded(content)
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side] / 255
    as_bytes = 255 * (square * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406])
    return np.round(as_bytes).astype(np.uint8)


def bgr(content: bytes) -> Pixels:
    return np.ascontiguousarray(decoded(content)[..., ::-1])


def scores_of(exported: ExportedModel, pictures: Sequence[Pixels]) -> list[float]:
    with TemporaryDirectory() as folder:
        exported.save(Path(folder))
        model = OnnxModel.load(Path(folder) / MODEL_FILE, threads=1)
        return [float(model.score_array(one[np.newaxis])[0]) for one in pictures]


@dataclass(frozen=True)
class Application:
    """Its database, with a row for each snapshot of a world, and what its pictures are."""

    url: str
    frame: pl.DataFrame
    store: ArtifactStore
    images: ImageCache

    @classmethod
    def of(cls, made: Made, url: str, store: ArtifactStore) -> "Application":
        frame = made.world.manifest.frame.select("snapshot_id", "webcam_id", "image_path_or_url")
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        create_schema(engine)
        insert_rows(
            engine,
            Rows(
                webcams=tuple(
                    webcam(id, view_count=7 * id % 5_000)
                    for id in frame["webcam_id"].unique().sort()
                ),
                snapshots=tuple(
                    snapshot(id, camera, firebase_url=source)
                    for id, camera, source in frame.iter_rows()
                ),
            ),
        )
        return cls(url, frame, store, made.world.images)

    def execute(self, *statements: str) -> None:
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    def contents(self, rows: int) -> list[bytes]:
        return [Path(one).read_bytes() for one in self.frame["image_path_or_url"].head(rows)]

    def record(self, version: str, scores: Sequence[float]) -> None:
        """Store scores of the first snapshots as the oldest application does."""
        rows = [
            {
                "snapshot_id": id,
                "model_version": version,
                "raw_score": score.raw_score,
                "ai_rating": score.ai_rating,
            }
            for id, score in zip(
                self.frame["snapshot_id"],
                (Score.of(one, model_version=version) for one in scores),
                strict=False,
            )
        ]
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.execute(INFERENCES.insert(), rows)

    def score(self, exported: ExportedModel, prepare: Prepare, *, rows: int,
              name: str | None = None) -> None:  # fmt: skip
        """Score the first snapshots by a model and store that under a name, its own if none is given."""
        pictures = [prepare(one) for one in self.contents(rows)]
        self.record(name or exported.meta.model_version, scores_of(exported, pictures))

    def move_to_columns(self, target: str) -> None:
        """Store the scores where the application of today does, and drop the table."""
        self.execute(
            *(f"ALTER TABLE webcam_snapshots ADD COLUMN {column}" for column in AI_COLUMNS),
            *(
                f"UPDATE webcam_snapshots SET {column} = (SELECT {of} FROM snapshot_ai_inferences"
                " WHERE snapshot_id = webcam_snapshots.id)"
                for column, of in (
                    (f"ai_{target}_score", "raw_score"),
                    (f"ai_model_version_{target}", "model_version"),
                )
            ),
            "DROP TABLE snapshot_ai_inferences",
        )

    def audit(self, database: LabelDatabase | None = None, **settings: object) -> ServedAudit:
        asked = {"pictures": 20, "drift_pictures": 0, "max_unscored_fraction": 1.0, **settings}
        return audit_served_scores(
            store=self.store,
            database=database or LabelDatabase(self.url),
            images=self.images,
            settings=AuditSettings(**asked),
        )
