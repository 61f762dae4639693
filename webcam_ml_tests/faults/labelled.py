"""Labels and pictures on which the whole graph runs in seconds and the gates say yes."""

from pathlib import Path

import sqlalchemy as sa

from webcam_ml.store import write_atomically
from webcam_ml_tests.integration.project import SMALL, Project
from webcam_ml_tests.label_schema import Rows, create_schema, insert_rows, rating, snapshot, webcam
from webcam_ml_tests.world import draw, make_labels

WEBCAMS, PER_WEBCAM = 150, 4
EVERYTHING = "*"
CONFIG: dict[str, object] = {
    "ops": {
        **SMALL["ops"],
        "manifest_full": {"config": {"train_pct": 60, "val_pct": 20, "test_pct": 20}},
    }
}


def make_rows(folder: Path) -> Rows:
    """Draw the pictures, and give the rows of the label database that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = make_labels(webcams=WEBCAMS, per_webcam=PER_WEBCAM, folder=folder).frame
    for row in frame.iter_rows(named=True):
        path = Path(row["image_path_or_url"])
        if not path.exists():
            write_atomically(path, draw(row["label_value"], row["snapshot_id"]))
    return Rows(
        webcams=tuple(webcam(id) for id in frame["webcam_id"].unique().sort().to_list()),
        snapshots=tuple(
            snapshot(
                row["snapshot_id"],
                row["webcam_id"],
                calculated_rating=row["label_value"],
                phase=row["phase"],
                firebase_url=row["image_path_or_url"],
            )
            for row in frame.iter_rows(named=True)
        ),
        ratings=tuple(
            rating(row["snapshot_id"], row["label_value"]) for row in frame.iter_rows(named=True)
        ),
    )


def fill(url: str, rows: Rows) -> str:
    """Make the application's tables in an empty database and store the rows; gives the URL."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    create_schema(engine)
    insert_rows(engine, rows)
    engine.dispose()
    return url


def everything(project: Project) -> list[str]:
    """The command of a full run."""
    return project.materialize_command(EVERYTHING, CONFIG)
