"""Pictures from elsewhere: what is read of them, under which keys, and what is refused."""

import json
from pathlib import Path

import pytest

from webcam_ml.contracts import SettingsError
from webcam_ml.labels import (
    LabelDatabaseError,
    LabelQuery,
    Labels,
    LabelValues,
    read_label_values,
    read_labels,
)
from webcam_ml.orchestration.presentation import of_labels
from webcam_ml_tests.labels.conftest import Store
from webcam_ml_tests.labels.test_all_judges import GEMINI, GPT, fill

ALL = LabelQuery(label_source="all_judges")
WITH_EXTERNAL = LabelQuery(label_source="all_judges", external_images=True)
TABLE = (
    "CREATE TABLE external_images (title text, id int, license text, source text, source_id text,"
    " owner text, image_url text, category text, llm_quality real, llm_model text)"
)
# Id → source, owner, licence, address, score, judge.
PICTURES: dict[int, tuple[str | None, str | None, str | None, str | None, float | None, str | None]]
PICTURES = {
    1: ("flickr", None, "CC BY 2.0", "/p/1.jpg", 0.4, GEMINI),
    2: ("flickr", "ada", None, "/p/2.jpg", 0.5, GPT),
    3: ("flickr", "ada", "CC BY 2.0", "/p/3.jpg", None, None),  # gold alone
    4: ("unsplash", "ada", "Unsplash", "/p/4.jpg", 0.6, "gemini-9"),  # judged nothing else
    5: ("flickr", "ben", "CC0", "/p/5.jpg", None, None),  # nobody said anything
    6: ("flickr", None, "CC0", "  ", 0.7, GEMINI),  # no address
    7: ("flickr", "ada", "CC0", "/p/7.jpg", 0.8, GEMINI),  # gold, too
    8: ("flickr", " ", "CC0", "/p/8.jpg", 0.2, GEMINI),
}
GOLD = {3: 5, 7: 0, 999: 4}


def text(value: object) -> str:
    return "NULL" if value is None else repr(value)


def with_pictures(store: Store, *, columns: bool = True, gold: bool = True) -> Store:
    fill(store, columns=columns, gold=gold)
    # `fill` labels a picture that is not there.
    store.execute(TABLE, *(["DELETE FROM manual_labels WHERE source <> 'webcam'"] if gold else []))
    for id, (source, owner, licence, address, score, judge) in PICTURES.items():
        store.execute(
            "INSERT INTO external_images (id, source, owner, license, image_url, llm_quality, llm_model)"
            f" VALUES ({id}, {text(source)}, {text(owner)}, {text(licence)}, {text(address)},"
            f" {text(score)}, {text(judge)})"
        )
    if gold:
        for id, stars in GOLD.items():
            verdict = ("true", stars) if stars else ("false", "NULL")
            store.execute(
                f"INSERT INTO manual_labels VALUES ('flickr', {id}, {verdict[0]}, {verdict[1]})"
            )
    return store


def files(labels: Labels, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    labels.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_pictures_have_keys_of_their_own_and_their_owner_groups_them(store: Store) -> None:
    judged = read_labels(with_pictures(store).database, WITH_EXTERNAL).judged
    assert judged is not None
    assert judged.external is not None
    assert judged.external.rows() == [
        (-8, -8, "/p/8.jpg", "flickr", None, "CC0"),
        (-7, -2, "/p/7.jpg", "flickr", "ada", "CC0"),
        (-4, -4, "/p/4.jpg", "unsplash", "ada", "Unsplash"),
        (-3, -2, "/p/3.jpg", "flickr", "ada", "CC BY 2.0"),
        (-2, -2, "/p/2.jpg", "flickr", "ada", None),
        (-1, -1, "/p/1.jpg", "flickr", None, "CC BY 2.0"),
    ]
    below = [row for row in judged.said.iter_rows() if row[0] < 0]
    assert [(id, kind, judge, round(value, 6)) for id, kind, judge, value, *_ in below] == [
        (-8, "score", GEMINI, 0.2),
        (-7, "gold_no_sunset", None, 1.0),
        (-7, "score", GEMINI, 0.8),
        (-4, "score", "gemini-9", 0.6),
        (-3, "gold", None, 5.0),
        (-2, "score", GPT, 0.5),
        (-1, "score", GEMINI, 0.4),
    ]
    assert judged.gold_of_external().rows() == [(-7, 1.0), (-3, 5.0)]
    assert {name: one for name, one in judged.counts.items() if "external" in name} == {
        "external_images": 8,
        "external_images_with_gold": 2,
        "external_images_with_scores_alone": 4,
        "external_images_without_address": 1,
        "gold_of_gone_external_images": 1,
    }
    assert judged.judges["gemini-9"] == {"scores": 0, "with_people": 0}
    shown = of_labels(read_labels(store.database, WITH_EXTERNAL))
    assert shown["pictures from elsewhere"] == 6


def test_they_change_nothing_of_snapshots_and_are_not_read_unless_asked_for(
    store: Store, tmp_path: Path
) -> None:
    fill(store)
    store.execute("DELETE FROM manual_labels WHERE source <> 'webcam'")
    before = read_labels(store.database, ALL)
    store.execute("DELETE FROM webcam_snapshot_ratings", "DELETE FROM webcam_snapshots")
    store.execute("DELETE FROM webcams", "DROP TABLE manual_labels")
    for column in ("llm_quality", "llm_model"):
        store.execute(f"ALTER TABLE webcam_snapshots DROP COLUMN {column}")
    store.execute("ALTER TABLE webcam_snapshot_ratings DROP COLUMN is_sunset_verdict")
    with_pictures(store)
    after = read_labels(store.database, ALL)
    assert files(after, tmp_path / "after") == files(before, tmp_path / "before")
    asked = read_labels(store.database, WITH_EXTERNAL)
    assert asked.frame.equals(before.frame)
    assert asked.snapshots().equals(before.snapshots())
    assert asked.judged is not None
    assert before.judged is not None
    assert asked.judged.snapshots.equals(before.judged.snapshots)
    of_snapshots = asked.judged.said.filter(asked.judged.said["snapshot_id"] >= 0)
    assert of_snapshots.equals(before.judged.said)
    shared = {name: asked.judged.counts[name] for name in before.judged.counts}
    assert shared == before.judged.counts


@pytest.mark.parametrize(("columns", "gold"), [(True, True), (True, False), (False, True)])
def test_both_databases_give_equal_bytes_that_are_read_back(
    sqlite: Store, postgres: Store, tmp_path: Path, columns: bool, gold: bool
) -> None:
    stored = [
        files(
            read_labels(with_pictures(one, columns=columns, gold=gold).database, WITH_EXTERNAL),
            tmp_path / one.engine.dialect.name,
        )
        for one in (sqlite, postgres)
    ]
    assert stored[0] == stored[1]
    again = Labels.load(tmp_path / "sqlite")
    assert files(again, tmp_path / "again") == stored[0]
    meta = json.loads(stored[0]["labels_meta.json"])
    assert (meta["external_images"], meta["external_weight"]) == (True, 0.25)
    assert again.query == WITH_EXTERNAL


def test_without_the_table_there_are_none_and_that_is_said(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    judged = read_labels(fill(store).database, WITH_EXTERNAL).judged
    assert judged is not None
    assert judged.external is not None
    assert judged.external.is_empty()
    assert "adds nothing, for there is no table external_images" in caplog.text
    assert judged.counts["gold_of_gone_external_images"] == 1


def test_a_table_may_have_no_scores_and_must_name_owner_and_licence(sqlite: Store) -> None:
    with_pictures(sqlite)
    sqlite.execute("ALTER TABLE external_images DROP COLUMN llm_quality")
    judged = read_labels(sqlite.database, WITH_EXTERNAL).judged
    assert judged is not None
    assert judged.external is not None
    assert judged.external["snapshot_id"].to_list() == [-7, -3]
    sqlite.execute("ALTER TABLE external_images DROP COLUMN license")
    with pytest.raises(LabelDatabaseError, match="table external_images has no column license"):
        read_labels(sqlite.database, WITH_EXTERNAL)


def asking(*names: str) -> LabelQuery:
    return LabelQuery(label_source="all_judges", judges=names, external_images=True)


def test_judges_are_chosen_of_both_tables(sqlite: Store) -> None:
    with_pictures(sqlite)
    query = asking("gemini-9")
    judged = read_labels(sqlite.database, query).judged
    assert judged is not None
    assert judged.external is not None
    assert judged.external["snapshot_id"].to_list() == [-7, -4, -3]
    # The sensor hears whom labels_raw hears.
    values = read_label_values(sqlite.database, query)
    expected = LabelValues.of(read_labels(sqlite.database, query))
    assert values.frame.equals(expected.frame)
    assert values.judged is not None
    assert values.judged.equals(expected.judged)
    without = LabelQuery(label_source="all_judges", judges=("gemini-9",))
    with pytest.raises(LabelDatabaseError, match="gemini-9 judged nothing"):
        read_labels(sqlite.database, without)
    with pytest.raises(LabelDatabaseError, match=r"gpt-9.*did you mean gpt-4o.*gemini-9"):
        read_labels(sqlite.database, asking("gpt-9"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            "UPDATE external_images SET llm_quality = 1.5 WHERE id = 2",
            "Table external_images: llm_quality is 1.5 at id 2",
        ),
        ("UPDATE external_images SET id = 0 WHERE id = 5", "external_images: id is 0, and 1 are"),
        ("UPDATE external_images SET id = 2 WHERE id = 5", "id stand in more than one row"),
        (
            "UPDATE manual_labels SET rating = NULL WHERE image_id = 3",
            "the label of flickr image_id 3 says a sunset, and has no rating",
        ),
        ("INSERT INTO manual_labels VALUES ('unsplash', 3, true, 4)", "image_id 3 stands in 2"),
        (
            "INSERT INTO manual_labels VALUES ('flickr', -3, true, 1)",
            "image_id is -3 where source is flickr, and 1 are below 1",
        ),
        (
            "INSERT INTO manual_labels VALUES ('flickr', 0, true, 1)",
            "image_id is 0 where source is flickr, and 1 are below 1",
        ),
        (
            "INSERT INTO manual_labels VALUES ('webcam', -4, true, 5)",
            "image_id is -4 where source is webcam, and 1 are below 0",
        ),
        (
            "UPDATE webcam_snapshots SET id = -4 WHERE id = 28",
            "webcam_snapshots: id is -4.*stand for pictures that are of no webcam",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(sqlite: Store, damage: str, message: str) -> None:
    with_pictures(sqlite).execute(damage)
    with pytest.raises(LabelDatabaseError, match=message):
        read_labels(sqlite.database, WITH_EXTERNAL)
    # So does the sensor, but for what decides no label: it asks for no picture from elsewhere.
    if "SET id = 0" not in damage and "SET id = 2" not in damage:
        with pytest.raises(LabelDatabaseError, match=message):
            read_label_values(sqlite.database, WITH_EXTERNAL)


def test_settings_without_an_effect_are_refused() -> None:
    with pytest.raises(SettingsError, match="together with label_source manual_only"):
        LabelQuery(external_images=True)
    with pytest.raises(SettingsError, match="has an effect only with external_images: true"):
        LabelQuery(label_source="all_judges", external_weight=0.5)
    with pytest.raises(SettingsError, match="external_weight"):
        LabelQuery(label_source="all_judges", external_images=True, external_weight=2.0)


def test_documents_name_only_what_had_an_effect() -> None:
    assert not {"judges", "external_images", "external_weight"} & set(LabelQuery().to_dict())
    assert ALL.to_dict()["external_images"] is False
    assert "external_weight" not in ALL.to_dict()
    for query in (LabelQuery(), ALL, WITH_EXTERNAL):
        assert LabelQuery.from_dict(query.to_dict()) == query
