"""Stored candidates and the label database that they come from, for reports as the asset makes them."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from webcam_ml.dataset import Manifest, TargetConfig
from webcam_ml.dataset.images import ImageIndex
from webcam_ml.disagreement import (
    DisagreementDocument,
    DisagreementReport,
    DisagreementSettings,
    report_disagreement,
)
from webcam_ml.export import score_pictures
from webcam_ml.labels import LabelDatabase
from webcam_ml.store import ArtifactStore, StoredArtifact
from webcam_ml.training import Checkpoint
from webcam_ml_tests.disagreement.compared_rows import QUICK
from webcam_ml_tests.label_schema import Rows, create_schema, insert_rows, snapshot, webcam
from webcam_ml_tests.live.models import Made, Works, make
from webcam_ml_tests.world import make_world

ALL = 10_000


@dataclass(frozen=True)
class Graph:
    """Two stored candidates, binary and regression, and the label database that they come from."""

    made: dict[str, Made]
    found: dict[str, dict[str, StoredArtifact]]
    store: ArtifactStore
    url: str

    @property
    def database(self) -> LabelDatabase:
        return LabelDatabase(self.url)

    def version(self, target: str = "binary") -> str:
        return self.made[target].version

    def report(self, target: str = "binary", *, url: str | None = None, **settings: object) -> (
        DisagreementReport
    ):  # fmt: skip
        found = self.found[target]
        world = self.made[target].world
        return report_disagreement(
            found["onnx_model"],
            found["checkpoint"].load(Checkpoint),
            found["manifest_full"].load(Manifest),
            found["image_index"].load(ImageIndex),
            settings=DisagreementSettings(limit=ALL, **QUICK, **settings),
            store=self.store,
            database=lambda: LabelDatabase(url or self.url),
            images=world.images,
            cache=world.cache,
        )

    def audit(self, target: str = "binary", **settings: object) -> DisagreementDocument:
        return self.report(target, predictions="database", **settings).document

    def execute(self, *statements: str) -> None:
        engine = sa.create_engine(self.url)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()

    def rows(self, target: str = "binary") -> pl.DataFrame:
        """Every labelled row with a picture, and the model file's own score of it."""
        made = self.made[target]
        frame = pl.concat([made.world.rows(split).frame for split in ("train", "val", "test")])
        scores = score_pictures(
            made.exported,
            frame["sha256"].to_list(),
            images=made.world.images,
            cache=made.world.cache,
        )
        return frame.with_columns(pl.Series("own_score", scores)).sort("snapshot_id")


def make_candidates(folder: Path) -> dict[str, Made]:
    """One of each target type."""
    return {
        "binary": make(make_world(folder)),
        "regression": make(make_world(folder, target=TargetConfig(target_type="regression"))),
    }


def make_graph(made: dict[str, Made], folder: Path) -> Graph:
    """Store the candidates, and make a label database with their webcams and snapshots, unrated."""
    url = f"sqlite:///{folder}/labels.sqlite"
    engine = sa.create_engine(url)
    create_schema(engine)
    labels = made["binary"].world.labels.frame
    insert_rows(
        engine,
        Rows(
            webcams=tuple(webcam(i) for i in labels["webcam_id"].unique().sort()),
            snapshots=tuple(snapshot(*row) for row in labels["snapshot_id", "webcam_id"].rows()),
        ),
    )
    engine.dispose()
    store = ArtifactStore(folder / "artifacts")
    works = Works(store)
    database = {**LabelDatabase(url).description, "demo": False}
    return Graph(
        made, {target: works.add(one, database) for target, one in made.items()}, store, url
    )
