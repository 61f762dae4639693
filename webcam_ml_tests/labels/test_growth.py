"""Growth of labels against a comparison in plain Python, and the decision on every side of a bound."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webcam_ml.contracts import SettingsError
from webcam_ml.labels import (
    GrowthSettings,
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


def growth(new: int = 0, changed: int = 0, **counts: int) -> LabelGrowth:
    defaults = {"before": 1000, "now": 1000 + new, "gone": 0, "new_webcams": 0, "new_positives": 0}
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
