"""Growth of labels against a comparison in plain Python, and the decision on every side of a bound."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webcam_ml.contracts import SettingsError
from webcam_ml.labels import (
    GrowthSettings,
    JudgeGrowth,
    LabelGrowth,
    LabelValues,
    decide,
    label_growth,
)

SINCE = datetime(2026, 2, 12, 10, 15, tzinfo=UTC)
STARS = st.sampled_from([1.0, 2.5, 3.99, 4.0, 5.0])
LABELS = st.dictionaries(st.integers(1, 12), st.tuples(st.integers(1, 4), STARS))


def values(labels: dict[int, tuple[int, float]]) -> LabelValues:
    rows = [(snapshot, webcam, value) for snapshot, (webcam, value) in sorted(labels.items())]
    schema = {"snapshot_id": pl.Int64, "webcam_id": pl.Int64, "label_value": pl.Float64}
    return LabelValues(pl.DataFrame(rows, schema=schema, orient="row"))


@given(before=LABELS, now=LABELS)
def test_growth_agrees_with_a_comparison_of_dictionaries(
    before: dict[int, tuple[int, float]], now: dict[int, tuple[int, float]]
) -> None:
    growth = label_growth(values(before), values(now), positive_from=4.0)
    positive = {snapshot for snapshot, (_, value) in now.items() if value >= 4}
    was_positive = {snapshot for snapshot, (_, value) in before.items() if value >= 4}
    assert growth == LabelGrowth(
        before=len(before),
        now=len(now),
        new=len(now.keys() - before.keys()),
        changed=sum(before[one] != now[one] for one in now.keys() & before.keys()),
        gone=len(before.keys() - now.keys()),
        new_webcams=len({w for w, _ in now.values()} - {w for w, _ in before.values()}),
        new_positives=len(positive - was_positive),
    )
    assert label_growth(values(now), values(now), positive_from=None).grown == 0


@given(labels=LABELS, other=LABELS)
def test_equal_digests_mean_no_growth_and_no_loss(
    labels: dict[int, tuple[int, float]], other: dict[int, tuple[int, float]]
) -> None:
    growth = label_growth(values(labels), values(other), positive_from=None)
    same = values(labels).digest == values(other).digest
    assert same == (growth.grown == growth.gone == 0)


@pytest.mark.parametrize(
    ("before", "settings", "needed"),
    [
        (0, GrowthSettings(), 50),
        (1000, GrowthSettings(), 50),
        (1001, GrowthSettings(), 51),
        (100_000, GrowthSettings(), 5000),
        (100, GrowthSettings(min_new_labels=1, growth_fraction=0.07), 7),
        (100, GrowthSettings(min_new_labels=1, growth_fraction=0.071), 8),
        (10**6, GrowthSettings(min_new_labels=3, growth_fraction=0), 3),
    ],
)
def test_needed_is_the_larger_of_count_and_fraction(
    before: int, settings: GrowthSettings, needed: int
) -> None:
    assert settings.needed(before) == needed


def growth(new: int = 0, changed: int = 0, **counts: Any) -> LabelGrowth:
    defaults: dict[str, Any] = {
        "before": 1000,
        "now": 1000 + new,
        "gone": 0,
        "new_webcams": 0,
        "new_positives": 0,
    }
    return LabelGrowth(new=new, changed=changed, **{**defaults, **counts})


@pytest.mark.parametrize(
    ("grown", "history", "retrain", "reason"),
    [
        (growth(38), {}, False, "38 of 50 new labels since 2026-02-12 10:15 UTC."),
        (
            growth(40, 9, gone=2, new_webcams=1, new_positives=7),
            {},
            False,
            (
                "49 of 50 new labels since 2026-02-12 10:15 UTC "
                "(9 changed, 1 new webcam, 7 new positives, 2 gone)."
            ),
        ),
        (
            growth(40, 10, new_webcams=3, new_positives=1),
            {},
            True,
            (
                "50 of 50 new labels since 2026-02-12 10:15 UTC "
                "(10 changed, 3 new webcams, 1 new positive): retrain."
            ),
        ),
        (
            growth(50),
            {"failed": 2},
            True,
            "50 of 50 new labels since 2026-02-12 10:15 UTC: retrain, attempt 3 of 3.",
        ),
        (
            growth(50),
            {"failed": 3},
            False,
            (
                "50 of 50 new labels since 2026-02-12 10:15 UTC, but 3 retrains of exactly these labels "
                "have failed: the next one waits until labels change, or for somebody to mend the cause "
                "and start it by hand."
            ),
        ),
        (
            growth(50),
            {"done": True},
            False,
            (
                "50 of 50 new labels since 2026-02-12 10:15 UTC, but a retrain of exactly these labels "
                "is done already."
            ),
        ),
    ],
)
def test_the_decision_is_told_in_one_sentence(
    grown: LabelGrowth, history: dict[str, int], retrain: bool, reason: str
) -> None:
    decision = decide(grown, since=SINCE, settings=GrowthSettings(), **history)
    assert decision.reason == reason
    assert decision.retrain is retrain
    assert decision.attempt == (history.get("failed", 0) + 1 if retrain else 0)


def test_without_a_training_all_labels_are_new() -> None:
    labels = values({id: (id % 3, 4.0) for id in range(1, 61)})
    first = label_growth(LabelValues.none(), labels, positive_from=None)
    decision = decide(first, since=None, settings=GrowthSettings())
    assert decision.retrain
    assert decision.reason == "60 of 50 new labels for a first training (3 new webcams): retrain."


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"min_new_labels": 0}, "min_new_labels is 0"),
        ({"growth_fraction": -0.1}, "growth_fraction is -0.1"),
        ({"growth_fraction": float("nan")}, "growth_fraction is nan"),
        ({"growth_fraction": float("inf")}, "growth_fraction is inf"),
        ({"min_interval": timedelta(seconds=-1)}, "min_interval is -1 seconds"),
    ],
)
def test_nonsense_is_refused_with_the_name_of_the_setting(
    settings: dict[str, object], reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        GrowthSettings(**settings)


def judged(*said: tuple[int, str, float]) -> pl.DataFrame:
    rows = [(snapshot, 1, judge, score) for snapshot, judge, score in said]
    schema = {
        "snapshot_id": pl.Int64,
        "webcam_id": pl.Int64,
        "judge": pl.String,
        "score": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def with_judged(labels: LabelValues, *said: tuple[int, str, float]) -> LabelValues:
    return LabelValues(labels.frame, judged(*said))


def test_labels_of_judges_grow_by_their_weight() -> None:
    people = values({id: (id % 3, 4.0) for id in range(1, 61)})
    before = with_judged(people, (100, "one", 0.2), (101, "one", 0.4), (102, "two", 0.4))
    now = with_judged(
        values({id: (id % 3, 4.0) for id in range(1, 63)}),
        (100, "one", 0.2), (101, "one", 0.45), (102, "one", 0.4), (103, "new", 0.1),
        *((id, "one", 0.3) for id in range(200, 210)),
    )  # fmt: skip
    growth = label_growth(before, now, positive_from=None, weights={"one": 0.16, "two": 0.2})
    assert growth.judges == (
        JudgeGrowth("new", 0.0, before=0, grown=1),
        JudgeGrowth("one", 0.16, before=2, grown=12),
        JudgeGrowth("two", 0.2, before=1, grown=0),
    )
    assert (growth.new, growth.changed) == (2, 0)
    assert growth.grown == pytest.approx(2 + 12 * 0.16)
    assert growth.before_by_weight == pytest.approx(60 + 2 * 0.16 + 0.2)
    decision = decide(growth, since=SINCE, settings=GrowthSettings())
    assert decision.reason == (
        "3.9 of 50 new labels by weight since 2026-02-12 10:15 UTC "
        "(1 by new that weigh 0 each, 12 by one that weigh 0.16 each, "
        "of judges at most as many as of people)."
    )
    assert people.digest == before.digest != now.digest


@pytest.mark.parametrize(
    ("of_people", "of_judge", "retrain"),
    [
        (0, 10_000, False),
        (24, 10_000, False),
        (25, 10_000, True),
        (50, 0, True),
        (40, 62, False),
        (40, 63, True),
    ],
)
def test_ten_thousand_labels_of_a_judge_do_not_outvote_fifty_of_people(
    of_people: int, of_judge: int, retrain: bool
) -> None:
    had = {id: (id % 3, 4.0) for id in range(1, 61)}
    # Nor do those that are there already make what is enough out of people's reach.
    there = [(id, "one", 0.3) for id in range(100_000, 130_000)]
    new = {id: (id % 3, 4.0) for id in range(1_000, 1_000 + of_people)}
    said = [(id, "one", 0.3) for id in range(10_000, 10_000 + of_judge)]
    growth = label_growth(
        with_judged(values(had), *there),
        with_judged(values(had | new), *there, *said),
        positive_from=None,
        weights={"one": 0.16},
    )
    assert growth.before_by_weight == 120
    assert growth.grown == pytest.approx(of_people + min(of_judge * 0.16, of_people))
    assert decide(growth, since=SINCE, settings=GrowthSettings()).retrain is retrain


def test_less_than_enough_never_looks_like_enough() -> None:
    almost = growth(49, judges=(JudgeGrowth("one", 0.099, before=0, grown=10),))
    decision = decide(almost, since=None, settings=GrowthSettings())
    assert not decision.retrain
    assert decision.reason.startswith("49.9 of 50 new labels by weight for a first training")
    sure = growth(49, judges=(JudgeGrowth("one", 0.1, before=0, grown=10),))
    assert decide(sure, since=None, settings=GrowthSettings()).retrain


def test_only_webcams_that_are_learned_from_are_kept_where_one_asks() -> None:
    frame = values({1: (1, 4.0)})
    said = judged((5, "one", 0.1), (6, "one", 0.1)).with_columns(webcam_id=pl.Series([1, 2]))
    kept = LabelValues(frame.frame, said)
    kept = kept.judged_on(pl.Series([2, 3]))
    assert kept.judged is not None
    assert kept.judged["snapshot_id"].to_list() == [6]
    assert frame.judged_on(pl.Series([2])).judged is None
