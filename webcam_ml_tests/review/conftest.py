"""A label database with pictures, once on SQLite and once on PostgreSQL, with and without what came later."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image

from webcam_ml_tests.label_schema import Rows, create_schema, rating, snapshot, webcam
from webcam_ml_tests.labels.conftest import Store
from webcam_ml_tests.postgres import PostgresServer

VERDICT = "ALTER TABLE webcam_snapshot_ratings ADD COLUMN is_sunset_verdict boolean"
GOLD = (
    "CREATE TABLE manual_labels (id {serial}, source text NOT NULL, image_id {image_id} NOT NULL,"
    " is_sunset boolean NOT NULL, rating int, origin text, labeled_at timestamp DEFAULT CURRENT_TIMESTAMP,"
    " UNIQUE (source, image_id), CHECK (is_sunset = (rating IS NOT NULL)))"
)


def add_gold(store: Store, *, image_id: str = "int") -> None:
    serial = "serial PRIMARY KEY" if is_postgres(store) else "integer PRIMARY KEY"
    store.execute(GOLD.format(serial=serial, image_id=image_id))


def is_postgres(store: Store) -> bool:
    return store.engine.dialect.name == "postgresql"


@pytest.fixture(params=["sqlite", "postgresql"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_server: PostgresServer
) -> Iterator[Store]:
    """A database with a column for N."""
    if request.param == "sqlite":
        store = Store(f"sqlite:///{tmp_path}/labels.db")
        prepare(store)
        yield store
        return
    with postgres_server.fresh_database() as url:
        store = Store(url)
        prepare(store)
        yield store


@pytest.fixture
def sqlite(tmp_path: Path) -> Store:
    store = Store(f"sqlite:///{tmp_path}/labels.db")
    prepare(store)
    return store


def prepare(store: Store) -> None:
    create_schema(store.engine)
    store.execute(VERDICT)


def fill(store: Store, folder: Path, *, frames: int = 12, webcams: int = 3) -> None:
    """Put unrated snapshots into a database, with a picture of its own for each."""
    folder.mkdir(exist_ok=True)
    ids = range(1, frames + 1)
    for id in ids:
        (folder / f"{id}.png").write_bytes(picture(id))
    store.insert(
        Rows(
            webcams=tuple(webcam(id) for id in range(1, webcams + 1)),
            snapshots=tuple(
                snapshot(id, 1 + id % webcams, firebase_url=str(folder / f"{id}.png")) for id in ids
            ),
        )
    )


def picture(id: int) -> bytes:
    colour = (40 + 20 * (id % 10), 30 + id // 10 % 200, 90)
    file = io.BytesIO()
    Image.new("RGB", (96, 64), colour).save(file, "PNG")
    return file.getvalue()


def rate(store: Store, *votes: tuple[int, int | None, str]) -> None:
    store.insert(Rows(ratings=tuple(rating(id, stars, who) for id, stars, who in votes)))


def ratings(store: Store, curator: str | None = None) -> dict[int, str]:
    """The votes in webcam_snapshot_ratings, in plain SQL: snapshot → stars, or N."""
    query = "SELECT snapshot_id, rating, user_session_id, is_sunset_verdict FROM webcam_snapshot_ratings"
    return {
        id: said(stars, verdict)
        for id, stars, who, verdict in rows(store, query)
        if curator in (None, who)
    }


def gold(store: Store) -> dict[int, str]:
    query = "SELECT image_id, rating, is_sunset FROM manual_labels WHERE source = 'webcam'"
    return {int(id): said(stars, verdict) for id, stars, verdict in rows(store, query)}


def said(stars: int | None, verdict: object) -> str:
    assert (stars is None) == (verdict is not None and not verdict)
    return "N" if stars is None else str(stars)


def rows(store: Store, query: str) -> Sequence[sa.Row[tuple[object, ...]]]:
    with store.engine.connect() as connection:
        return connection.execute(sa.text(query)).all()
