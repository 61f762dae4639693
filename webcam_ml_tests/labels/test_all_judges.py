"""Labels of all judges, from databases with all, half and none of the tables, against plain Python."""

import json
import math
from pathlib import Path

import pytest

from webcam_ml.labels import (
    LabelDatabaseError,
    LabelQuery,
    Labels,
    LabelValues,
    TooFewLabelsError,
    read_label_values,
    read_labels,
)
from webcam_ml.orchestration.presentation import of_labels
from webcam_ml_tests.label_schema import Rows, rating, snapshot, webcam
from webcam_ml_tests.labels.conftest import Store

ALL = LabelQuery(label_source="all_judges")
GEMINI, GPT = "gemini-2.5-flash", "gpt-4o"

COLUMNS = (
    "ALTER TABLE webcam_snapshots ADD COLUMN llm_quality real",
    "ALTER TABLE webcam_snapshots ADD COLUMN llm_model text",
    "ALTER TABLE webcam_snapshot_ratings ADD COLUMN is_sunset_verdict boolean",
)
GOLD = (
    "CREATE TABLE manual_labels (source text, image_id int, is_sunset boolean not null, rating int)"
)

# Snapshot → stars by session (None: a vote N), gold label (0: N), score, model.
RATED: dict[int, dict[str, int | None]] = {
    **{id: {"anna": 1 + id % 5} for id in range(1, 13)},
    13: {"anna": None},
    14: {"anna": None, "ben": 4, "zoe": 5},
    15: {"ben": 3},
    16: {"anna": None},
}
CURATED = {13: 0, 14: 5, 15: 2, 17: 4, 18: 0, 999: 3}
SCORED: dict[int, tuple[float, str | None]] = {
    **{id: (id / 40, GEMINI) for id in range(1, 15)},
    **{id: (0.05 * (id - 18), GPT if id % 2 else GEMINI) for id in range(19, 27)},
    27: (0.9, None),
    28: (0.9, " "),
    29: (0.5, GEMINI),
    30: (0.5, GEMINI),
}
WITHOUT_WEBCAM, WITHOUT_IMAGE, NOBODYS = 29, 30, 31


def fill(store: Store, *, columns: bool = True, gold: bool = True) -> Store:
    ids = range(1, 32)
    store.insert(
        Rows(
            webcams=tuple(webcam(id) for id in range(1, 5)),
            snapshots=tuple(
                snapshot(
                    id,
                    None if id == WITHOUT_WEBCAM else 1 + id % 4,
                    firebase_url=" " if id == WITHOUT_IMAGE else f"/{id}.jpg",
                    calculated_rating=2.5 if id % 7 else None,
                )
                for id in ids
            ),
            ratings=tuple(
                rating(id, stars, session)
                for id, votes in RATED.items()
                for session, stars in votes.items()
            ),
        )
    )
    if columns:
        store.execute(
            *COLUMNS,
            "UPDATE webcam_snapshot_ratings SET is_sunset_verdict = (rating IS NOT NULL)",
            *(
                f"UPDATE webcam_snapshots SET llm_quality = {score},"
                f" llm_model = {'NULL' if model is None else repr(model)} WHERE id = {id}"
                for id, (score, model) in SCORED.items()
            ),
        )
    if gold:
        store.execute(GOLD, *(give(id, stars) for id, stars in CURATED.items()), flower())
    return store


def give(id: int, stars: int) -> str:
    verdict, text = ("true", stars) if stars else ("false", "NULL")
    return f"INSERT INTO manual_labels VALUES ('webcam', {id}, {verdict}, {text})"


def flower() -> str:
    return "INSERT INTO manual_labels VALUES ('flickr', 1, true, 5)"


def votes_of(id: int, *, columns: bool, gold: bool) -> list[tuple[str, int]]:
    """All votes on a snapshot, in plain Python."""
    found = [
        ("stars", stars) if stars else ("no_sunset", 1)
        for stars in RATED.get(id, {}).values()
        if stars or columns
    ]
    if gold and id in CURATED:
        stars = CURATED[id]
        same = ("stars", stars) if stars else ("no_sunset", 1)
        if same not in found:
            found.append(("gold", stars) if stars else ("gold_no_sunset", 1))
    return found


def files(labels: Labels, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    labels.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


PARTS = [(True, True), (True, False), (False, True), (False, False)]


@pytest.mark.parametrize(("columns", "gold"), PARTS)
def test_labels_are_the_votes_and_judgements_are_unmixed(
    sqlite: Store, columns: bool, gold: bool
) -> None:
    labels = read_labels(fill(sqlite, columns=columns, gold=gold).database, ALL)
    votes = {id: votes_of(id, columns=columns, gold=gold) for id in range(1, 32)}
    voted = {id: found for id, found in votes.items() if found}
    frame = labels.frame
    assert frame["snapshot_id"].to_list() == sorted(voted)
    for row in frame.iter_rows(named=True):
        stars = [stars for _, stars in voted[row["snapshot_id"]]]
        assert row["label_value"] == sum(stars) / len(stars)
        assert row["rating_count"] == len(stars)
        assert [row[f"stars_{n}"] for n in range(1, 6)] == [stars.count(n) for n in range(1, 6)]
        rated = [value for kind, value in voted[row["snapshot_id"]] if kind == "stars"]
        assert row["fresh_rating"] == (sum(rated) / len(rated) if rated else None)
    assert labels.off_scale().is_empty()
    assert labels.drops["unrated"] == 31 - len(voted)

    judged = labels.judged
    assert judged is not None
    scored = {id: said for id, said in SCORED.items() if said[1] in (GEMINI, GPT) and columns}
    alone = set(scored) - set(voted) - {WITHOUT_WEBCAM, WITHOUT_IMAGE}
    assert judged.snapshots["snapshot_id"].to_list() == sorted(alone)
    expected: list[tuple[object, ...]] = [
        (id, "score", scored[id][1], round(scored[id][0], 9), 1, None)
        for id in (alone | set(voted)) & set(scored)
    ]
    for id, found in voted.items():
        for kind in {kind for kind, _ in found}:
            stars = [value for one, value in found if one == kind]
            mean = sum(stars) / len(stars)
            spread = math.sqrt(sum((value - mean) ** 2 for value in stars) / len(stars))
            expected.append((id, kind, None, mean, len(stars), spread))
    said = [(*row[:3], round(row[3], 9), *row[4:]) for row in judged.said.iter_rows()]
    assert said == sorted(expected, key=lambda row: (row[0], row[1], str(row[2])))
    if columns:
        assert judged.counts["scores_without_judge"] == 2
        assert judged.counts["judged_without_webcam"] == 1
        assert judged.counts["judged_without_image"] == 1
        assert judged.judges[GEMINI] == {"scores": 20, "with_people": 14}
        assert judged.judges[GPT] == {"scores": 4, "with_people": 0}
    if columns and gold:
        assert judged.counts["gold_same_as_rating"] == 2
        assert judged.counts["gold_of_gone_snapshots"] == 1
    assert of_labels(labels)["snapshots that only judges know"] == len(alone)


@pytest.mark.parametrize(("columns", "gold"), PARTS)
def test_both_databases_give_equal_bytes_that_are_read_back(
    sqlite: Store, postgres: Store, tmp_path: Path, columns: bool, gold: bool
) -> None:
    read = [
        read_labels(fill(store, columns=columns, gold=gold).database, ALL)
        for store in (sqlite, postgres)
    ]
    stored = [files(labels, tmp_path / str(number)) for number, labels in enumerate(read)]
    assert stored[0] == stored[1]
    again = Labels.load(tmp_path / "0")
    assert files(again, tmp_path / "again") == stored[0]
    assert again.judged is not None
    assert again.query == ALL
    # What is read often is less, and says the same of labels and of what only judges know.
    for values in (
        read_label_values(sqlite.database, ALL),
        read_label_values(postgres.database, ALL),
        LabelValues.load(tmp_path / "0"),
    ):
        assert values.frame.equals(read[0].frame.select(values.frame.columns))
        assert values.judged is not None
        expected = LabelValues.of(read[0]).judged
        assert expected is not None
        assert values.judged.equals(expected)
        assert set(values.judged["snapshot_id"]) == set(read[0].judged.snapshots["snapshot_id"])


@pytest.mark.parametrize("source", ["manual_only", "public_aggregate"])
def test_the_other_sources_hear_nothing_of_it(sqlite: Store, tmp_path: Path, source: str) -> None:
    query = LabelQuery(label_source=source)
    fill(sqlite, columns=False, gold=False)
    before = files(read_labels(sqlite.database, query), tmp_path / "before")
    sqlite.execute("DELETE FROM webcam_snapshot_ratings", "DELETE FROM webcam_snapshots")
    sqlite.execute("DELETE FROM webcams")
    fill(sqlite)
    assert files(read_labels(sqlite.database, query), tmp_path / "after") == before
    assert set(before) == {"labels.csv", "labels_meta.json"}
    assert "judges" not in json.loads(before["labels_meta.json"])


def test_without_the_tables_the_labels_are_the_rating_rows(sqlite: Store) -> None:
    fill(sqlite, columns=False, gold=False)
    heard = read_labels(sqlite.database, ALL).frame.drop("label_source")
    rows = read_labels(sqlite.database, LabelQuery(label_source="public_aggregate"))
    assert heard.equals(rows.frame.drop("label_source"))


def test_judges_are_chosen_by_name_and_pattern(sqlite: Store) -> None:
    fill(sqlite)
    for judges in (("gpt-4o",), ("gpt-*",), ("*4*", "gpt-4o")):
        judged = read_labels(
            sqlite.database, LabelQuery(label_source="all_judges", judges=judges)
        ).judged
        assert judged is not None
        assert set(judged.judges) == {GPT}
        assert judged.counts["scores_of_judges_not_asked"] == 20
    # A name that looks like a pattern is a name, too.
    sqlite.execute("UPDATE webcam_snapshots SET llm_model = 'qwen[vl]' WHERE llm_model = 'gpt-4o'")
    query = LabelQuery(label_source="all_judges", judges=("qwen[vl]",))
    judged = read_labels(sqlite.database, query).judged
    assert judged is not None
    assert set(judged.judges) == {"qwen[vl]"}
    values = read_label_values(sqlite.database, query).judged
    assert values is not None
    assert set(values["judge"]) == {"qwen[vl]"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            "UPDATE webcam_snapshots SET llm_quality = 1.5 WHERE id = 5",
            "llm_quality is 1.5 at id 5",
        ),
        ("UPDATE webcam_snapshots SET llm_quality = -1 WHERE id = 5", "runs from -1 to -1"),
        (
            "UPDATE manual_labels SET is_sunset = false WHERE image_id = 14",
            "image_id 14 says no sunset, and has a rating",
        ),
        (
            "UPDATE manual_labels SET rating = NULL WHERE image_id = 17",
            "image_id 17 says a sunset, and has no rating",
        ),
        ("UPDATE manual_labels SET rating = 7 WHERE image_id = 17", "rating is 7"),
        (give(13, 0), "image_id 13 stands in 2"),
        (give(-4, 3), "image_id is -4 where source is webcam, and 1 are below 0"),
        (
            "UPDATE webcam_snapshot_ratings SET is_sunset_verdict = false WHERE snapshot_id IN (14, 15)",
            "3 votes contradict themselves, one of them on snapshot_id 14: .* says no sunset",
        ),
    ],
)
def test_what_no_schema_permits_is_refused_by_name(store: Store, damage: str, message: str) -> None:
    fill(store).execute(damage)
    with pytest.raises(LabelDatabaseError, match=message):
        read_labels(store.database, ALL)
    # Who does not ask for it is not held up by it.
    read_labels(store.database, LabelQuery(label_source="public_aggregate"))


def test_a_score_that_is_a_text_is_read_as_the_number_that_it_is_or_refused(store: Store) -> None:
    fill(store)
    if store.engine.dialect.name == "postgresql":
        store.execute("ALTER TABLE webcam_snapshots ALTER COLUMN llm_quality TYPE text")
    store.execute("UPDATE webcam_snapshots SET llm_quality = ' .35 ' WHERE id = 5")
    judged = read_labels(store.database, ALL).judged
    assert judged is not None
    assert judged.scores().filter(snapshot_id=5)["score"].to_list() == [0.35]
    store.execute("UPDATE webcam_snapshots SET llm_quality = 'fine' WHERE id = 5")
    with pytest.raises(LabelDatabaseError, match="llm_quality is 'fine' where id is 5"):
        read_labels(store.database, ALL)


def test_a_score_that_is_nan_says_nothing(store: Store) -> None:
    # SQLite has no such number; a copy from PostgreSQL leaves the text there.
    fill(store).execute("UPDATE webcam_snapshots SET llm_quality = 'NaN' WHERE id IN (5, 19)")
    judged = read_labels(store.database, ALL).judged
    assert judged is not None
    assert not {5, 19} & set(judged.scores()["snapshot_id"])


def test_another_scale_of_one_judge_holds_up_nobody_who_does_not_ask_for_it(sqlite: Store) -> None:
    fill(sqlite).execute("UPDATE webcam_snapshots SET llm_quality = 80 WHERE llm_model = 'gpt-4o'")
    with pytest.raises(LabelDatabaseError, match=r"\(llm_model gpt-4o\), off the scale of 0 to 1"):
        read_labels(sqlite.database, ALL)
    read_labels(sqlite.database, LabelQuery(label_source="all_judges", judges=("gemini*",)))


def test_a_snapshot_that_another_model_judged_anew_is_known_to_that_one_only(sqlite: Store) -> None:
    fill(sqlite).execute(f"UPDATE webcam_snapshots SET llm_model = '{GPT}' WHERE id = 5")
    judged = read_labels(sqlite.database, ALL).judged
    assert judged is not None
    assert judged.scores().filter(snapshot_id=5)["judge"].to_list() == [GPT]


@pytest.mark.parametrize("columns", [True, False])
def test_an_unknown_judge_is_refused_with_those_that_there_are(
    sqlite: Store, columns: bool
) -> None:
    fill(sqlite, columns=columns)
    query = LabelQuery(label_source="all_judges", judges=("gpt-9", "gemini-*"))
    there = "did you mean gpt-4o.*There are gemini-2.5-flash, gpt-4o" if columns else "No language"
    with pytest.raises(LabelDatabaseError, match=f"gpt-9.* judged nothing in .*{there}"):
        read_labels(sqlite.database, query)


def test_votes_of_people_are_needed_too(sqlite: Store) -> None:
    fill(sqlite).execute("DELETE FROM webcam_snapshot_ratings", "DELETE FROM manual_labels")
    with pytest.raises(TooFewLabelsError):
        read_labels(sqlite.database, ALL)
