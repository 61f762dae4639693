"""Which webcams are one device, as the database says, and what it changes: nothing but a file more."""

from pathlib import Path

import pytest

from webcam_ml.labels import LabelDatabase, LabelDatabaseError, LabelQuery, Labels, read_labels
from webcam_ml_tests.label_schema import plain_rows, snapshot, webcam
from webcam_ml_tests.labels.conftest import Store

COLUMN = "ALTER TABLE webcams ADD COLUMN custom_camera_id int"
ROWS = plain_rows()
WEBCAMS = [int(str(row["id"])) for row in ROWS.webcams]
ONE, TWO, THREE, ALONE = WEBCAMS[:4]
QUERIES = [LabelQuery(label_source=name) for name in ("manual_only", "all_judges")]


def fill(store: Store) -> Store:
    """A device with three webcams, one of which has no label, and one with a single webcam."""
    store.insert(ROWS)
    store.insert(type(ROWS)((webcam(7),), (snapshot(900, 7),)))
    return store


def name_devices(store: Store) -> None:
    store.execute(
        COLUMN,
        *(
            f"UPDATE webcams SET custom_camera_id = {device} WHERE id = {id}"
            for id, device in ((ONE, 5), (7, 5), (TWO, 5), (THREE, 4), (ALONE, None))
            if device is not None
        ),
    )


def files(labels: Labels, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    labels.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.label_source)
def test_devices_with_several_labelled_webcams_are_kept_beside_unchanged_labels(
    store: Store, tmp_path: Path, query: LabelQuery
) -> None:
    fill(store)
    before = files(read_labels(store.database, query), tmp_path / "before")
    assert "devices.csv" not in before
    assert Labels.load(tmp_path / "before").devices.is_empty()
    name_devices(store)
    after = read_labels(store.database, query)
    assert after.devices.rows() == [(one, 5) for one in sorted((ONE, TWO))]
    stored = files(after, tmp_path / "after")
    assert Labels.load(tmp_path / "after").devices.equals(after.devices)
    assert stored.pop("devices.csv").startswith(b"webcam_id,device_id\n")
    assert stored == before


def test_a_device_without_a_second_labelled_webcam_is_no_file(
    sqlite: Store, tmp_path: Path
) -> None:
    name_devices(fill(sqlite))
    sqlite.execute(f"UPDATE webcams SET custom_camera_id = 6 WHERE id = {TWO}")
    assert "devices.csv" not in files(read_labels(sqlite.database, LabelQuery()), tmp_path / "one")


def test_a_device_that_is_no_number_is_refused(sqlite: Store) -> None:
    name_devices(fill(sqlite))
    sqlite.execute(f"UPDATE webcams SET custom_camera_id = 'roof' WHERE id = {ONE}")
    with pytest.raises(LabelDatabaseError, match=f"custom_camera_id is 'roof' where id is {ONE}"):
        read_labels(sqlite.database, LabelQuery())


def test_who_may_not_read_the_column_gets_labels_all_the_same(postgres: Store) -> None:
    name_devices(fill(postgres))
    postgres.execute(
        "DROP ROLE IF EXISTS narrow",
        "CREATE ROLE narrow LOGIN",
        "GRANT SELECT ON webcam_snapshots, webcam_snapshot_ratings TO narrow",
        "GRANT SELECT (id, title, source) ON webcams TO narrow",
    )
    try:
        url = postgres.engine.url.set(username="narrow").render_as_string(hide_password=False)
        assert read_labels(LabelDatabase(url), LabelQuery()).devices.is_empty()
        assert not read_labels(postgres.database, LabelQuery()).devices.is_empty()
    finally:
        postgres.execute("DROP OWNED BY narrow", "DROP ROLE narrow")
