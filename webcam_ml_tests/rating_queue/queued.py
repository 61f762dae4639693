"""A label database with rated and unrated frames of drawn webcams, a model of the rated ones, a queue."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from webcam_ml.dataset import Manifest
from webcam_ml.dataset.duplicates import ComparedImages, compare_images
from webcam_ml.labels import LabelDatabase
from webcam_ml.rating_queue import QueueResult, RatingQueueSettings, build_rating_queue
from webcam_ml.store import ArtifactStore
from webcam_ml.training import Checkpoint
from webcam_ml_tests.label_schema import (
    Row,
    Rows,
    create_schema,
    insert_rows,
    rating,
    snapshot,
    webcam,
)
from webcam_ml_tests.live.models import Works
from webcam_ml_tests.world import World, draw, make_world

# Webcams of the world are 1000 to 1039; these were never seen.
NEW_WEBCAMS = range(2000, 2010)
FIRST_UNRATED = 1001
UNRATED_OF_EACH = 2
# Days apart, so that only equal files can be the same picture, unless a test says so.
FIRST = datetime(2026, 3, 1, 17)


@dataclass(frozen=True)
class Made:
    """What is made once: pictures, labels and a model."""

    folder: Path
    world: World
    compared: ComparedImages
    checkpoint: Checkpoint


def make(folder: Path) -> Made:
    world = make_world(folder)
    compared = compare_images(
        world.manifest.frame, world.index, images=world.images, cache=world.cache
    )
    made = Made(folder, world, compared, world.train().checkpoint)
    for row in unrated(made):
        picture(made, int(str(row["id"])))
    return made


def picture(made: Made, snapshot_id: int) -> Path:
    """Draw the picture of an unrated frame, of 1 to 5 stars, unless it is there."""
    path = made.folder / "pictures" / f"{snapshot_id}.jpg"
    if not path.exists():
        path.write_bytes(draw(1 + snapshot_id % 5, snapshot_id))
    return path


def unrated(made: Made) -> list[Row]:
    """Two frames of each webcam, the new ones too."""
    webcams = [*made.world.labels.frame["webcam_id"].unique().sort(), *NEW_WEBCAMS]
    return [
        frame(made, FIRST_UNRATED + number, webcam_id)
        for number, webcam_id in enumerate(webcams * UNRATED_OF_EACH)
    ]


def frame(made: Made, snapshot_id: int, webcam_id: int, **columns: object) -> Row:
    return snapshot(
        snapshot_id,
        webcam_id,
        **{
            "firebase_url": str(made.folder / "pictures" / f"{snapshot_id}.jpg"),
            "captured_at": FIRST + timedelta(days=snapshot_id - FIRST_UNRATED),
            **columns,
        },
    )


@dataclass(frozen=True)
class Queued:
    """A database of its own for a test, and the queue that follows from it."""

    made: Made
    url: str
    store: ArtifactStore
    manifest: Manifest
    compared: ComparedImages

    @classmethod
    def of(cls, made: Made, folder: Path, frames: Iterable[Row] | None = None) -> "Queued":
        folder.mkdir(exist_ok=True)
        url = f"sqlite:///{folder}/labels.sqlite"
        engine = sa.create_engine(url)
        create_schema(engine)
        labels = made.world.labels.frame
        known = labels["webcam_id"].unique().sort()
        insert_rows(
            engine,
            Rows(
                webcams=tuple(webcam(i) for i in [*known, *NEW_WEBCAMS]),
                snapshots=(
                    *(
                        snapshot(*row, calculated_rating=stars, firebase_url=url)
                        for *row, stars, url in labels[
                            "snapshot_id", "webcam_id", "label_value", "image_path_or_url"
                        ].rows()
                    ),
                    *(unrated(made) if frames is None else frames),
                ),
                ratings=tuple(
                    rating(id, int(stars))
                    for id, stars in labels["snapshot_id", "label_value"].rows()
                ),
            ),
        )
        engine.dispose()
        store = ArtifactStore(folder / "artifacts")
        database = LabelDatabase(url).description
        Works(store).put("checkpoint", made.checkpoint, database)
        return cls(made, url, store, made.world.manifest, made.compared)

    def execute(self, *statements: str) -> None:
        engine = sa.create_engine(self.url)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()

    def asking(self, **query: object) -> "Queued":
        """The same with labels of another query."""
        meta = replace(self.manifest.meta, query=self.manifest.meta.query.model_copy(update=query))
        return replace(self, manifest=replace(self.manifest, meta=meta))

    def queue(self, *, url: str | None = None, cache: Path | None = None, **settings: object) -> (
        QueueResult
    ):  # fmt: skip
        world = self.made.world
        return build_rating_queue(
            self.store.latest("checkpoint"),
            self.manifest,
            self.compared,
            judged=None,
            settings=RatingQueueSettings(**settings),
            database=lambda: LabelDatabase(url or self.url),
            images=world.images,
            cache=cache or world.cache,
        )


def copy_picture(made: Made, source: int, target: int) -> None:
    pictures = made.folder / "pictures"
    shutil.copy(pictures / f"{source}.jpg", pictures / f"{target}.jpg")
