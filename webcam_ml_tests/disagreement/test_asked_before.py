"""What was rated again since a report asked for it is not asked for once more, unless something speaks."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import polars as pl
import pytest

from webcam_ml.disagreement import DisagreementReport
from webcam_ml.disagreement._asked_before import (
    ANOTHER_MODEL,
    ANOTHER_RATER,
    ASKED_SCHEMA,
    AskedBefore,
    what_came_of_it,
)
from webcam_ml.labels import LabelDatabaseError
from webcam_ml.store import StoredArtifact
from webcam_ml_tests.disagreement.graph import Graph
from webcam_ml_tests.live.fixtures import overwrite
from webcam_ml_tests.live.models import Works

SAME, OTHER = True, False
Asked: TypeAlias = list[tuple[int, bool]]
Votes: TypeAlias = list[tuple[str | None, float, int | None]]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
VOTES_SCHEMA = {
    "snapshot_id": pl.Int64,
    "rater": pl.String,
    "rating": pl.Float64,
    "voted_at": pl.Datetime("us", "UTC"),
}


def day(number: int) -> datetime:
    return NOON + timedelta(days=number)


def outcome(asked: Asked, votes: Votes) -> AskedBefore:
    """What came of snapshot 7: days on which it was asked for, and votes with their days."""
    return what_came_of_it(
        pl.DataFrame([(7, day(on), same) for on, same in asked], schema=ASKED_SCHEMA, orient="row"),
        pl.DataFrame(
            [(7, who, stars, None if on is None else day(on)) for who, stars, on in votes],
            schema=VOTES_SCHEMA,
            orient="row",
        ).sort("voted_at"),
    )


# Name → days and models that asked, votes with their days, the day of the answer, why asked again.
CASES: dict[str, tuple[Asked, Votes, int | None, str | None]] = {
    "nobody rated since": ([(2, SAME)], [("zoe", 5, 1)], None, None),
    "nobody knows when": ([(2, SAME)], [("zoe", 5, None)], None, None),
    "an answer may differ from before": ([(2, SAME)], [("zoe", 5, 1), ("max", 1, 3)], 3, None),
    "the same rater thought again": ([(2, SAME)], [("zoe", 1, 3)], 3, None),
    "asked once more after the answer": ([(2, SAME), (4, SAME)], [("max", 1, 3)], None, None),
    "another rater disagrees": ([(2, SAME)], [("max", 1, 3), ("eva", 3, 4)], None, ANOTHER_RATER),
    "the gold label disagrees": ([(2, SAME)], [("max", 1, 3), (None, 3, 4)], None, ANOTHER_RATER),
    "a star apart is how people are": ([(2, SAME)], [("max", 2, 3), ("eva", 3, 4)], 4, None),
    "a third opinion settles it": (
        [(2, SAME), (5, SAME)],
        [("max", 1, 3), ("eva", 3, 4), ("kim", 2, 6)],
        6,
        None,
    ),
    "another model": ([(2, OTHER)], [("max", 1, 3)], None, ANOTHER_MODEL),
    "both models asked before the answer": (
        [(2, OTHER), (2, SAME)],
        [("max", 1, 3)],
        3,
        None,
    ),
    "the other model asked and waits": ([(2, OTHER), (4, SAME)], [("max", 1, 3)], None, None),
}


@pytest.mark.parametrize("case", CASES)
def test_what_speaks_for_asking_again(case: str) -> None:
    asked, votes, answered, again = CASES[case]
    found = outcome(asked, votes)
    assert found.answered == ({} if answered is None else {7: day(answered)})
    assert found.asked_again == ({} if again is None else {7: again})


# --- with a store and a database ------------------------------------------------------------------


def ids(report: DisagreementReport) -> list[int]:
    return report.queue["snapshot_id"].to_list()


def keep(
    graph: Graph, report: DisagreementReport, database: Mapping[str, object] | None = None
) -> StoredArtifact:
    """Store a report as its asset does."""
    inputs = graph.found["binary"]
    return Works(graph.store).put(
        "disagreement_report",
        report,
        database or inputs["onnx_model"].lineage.database,
        **{
            name: inputs[name]
            for name in ("onnx_model", "checkpoint", "manifest_full", "image_index")
        },
    )


def vote(graph: Graph, snapshot: int, who: str, stars: int, *, minutes: int) -> None:
    """Rate a snapshot so many minutes from now: reports are stored now."""
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    graph.execute(
        "INSERT INTO webcam_snapshot_ratings (snapshot_id, user_session_id, rating, created_at)"
        f" VALUES ({snapshot}, '{who}', {stars}, '{at:%Y-%m-%d %H:%M:%S}')"
    )


def test_rated_again_does_not_come_back_until_another_rater_disagrees(graph: Graph) -> None:
    first = graph.report()
    keep(graph, first)
    asked = ids(first)
    assert len(asked) > 10
    for snapshot in asked[:5]:
        vote(graph, snapshot, "max", 1, minutes=1)
    vote(graph, asked[5], "max", 1, minutes=-60)
    again = graph.report()
    assert not set(asked[:5]) & set(ids(again))
    assert asked[5] in ids(again), "that vote was there when the report asked"
    assert again.document.counts.rated_again == 5
    assert again.document.counts.compared == first.document.counts.compared
    assert graph.report().queue.equals(again.queue)
    vote(graph, asked[0], "eva", 5, minutes=2)
    back = graph.report()
    (row,) = back.queue.filter(pl.col("snapshot_id") == asked[0]).to_dicts()
    assert row["asked_again_because"] == ANOTHER_RATER
    assert set(asked[1:5]).isdisjoint(ids(back))
    assert f"Asked again: {ANOTHER_RATER}" in back.gallery


@pytest.mark.parametrize(
    ("changed", "comes_back"),
    [({}, False), ({"image_size": 48}, True), ({"store_weights": "fp32"}, True)],
)
def test_a_retrain_is_no_other_model_but_one_of_another_making_is(
    graph: Graph, changed: dict[str, object], comes_back: bool
) -> None:
    made, name = graph.made["binary"], f"binary-of-{'-'.join(changed)}"
    summary = {**made.checkpoint.summary, "random_state": 7, **changed}
    meta = made.exported.meta.model_copy(update={"model_version": name})
    earlier = replace(
        made,
        checkpoint=replace(made.checkpoint, summary=summary),
        exported=replace(made.exported, meta=meta),
    )
    Works(graph.store).add(earlier, graph.found["binary"]["onnx_model"].lineage.database)
    first = graph.report()
    document = first.document.model_copy(update={"model_version": name})
    keep(graph, replace(first, document=document))
    asked = ids(first)[0]
    vote(graph, asked, "max", 1, minutes=1)
    report = graph.report()
    assert (asked in ids(report)) == comes_back
    if comes_back:
        (row,) = report.queue.filter(pl.col("snapshot_id") == asked).to_dicts()
        assert row["asked_again_because"] == ANOTHER_MODEL


def test_queues_of_another_database_and_damaged_ones_ask_for_nothing(
    graph: Graph, caplog: pytest.LogCaptureFixture
) -> None:
    first = graph.report()
    keep(graph, first, {"dialect": "postgresql", "host": "h", "name": "app", "demo": False})
    asked = ids(first)[0]
    vote(graph, asked, "max", 1, minutes=1)
    assert asked in ids(graph.report())
    stored = keep(graph, graph.report(ranking="abs_diff"))
    overwrite(stored.folder / "relabel_queue.csv")
    with caplog.at_level(logging.WARNING):
        assert asked in ids(graph.report())
    assert "what this report asked for is passed over" in caplog.text


def test_when_votes_were_given_matters_only_if_something_was_asked_for(graph: Graph) -> None:
    graph.execute("ALTER TABLE webcam_snapshot_ratings DROP COLUMN created_at")
    first = graph.report()
    keep(graph, first)
    with pytest.raises(LabelDatabaseError, match="no column created_at"):
        graph.report()
