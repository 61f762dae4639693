"""Whether labels have grown enough for a retrain: comparison and decision, both pure functions.

Nothing here knows who starts a retrain, or where the labels of the last training are kept.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from webcam_ml.contracts import Settings, Why
from webcam_ml.printable import printable

if TYPE_CHECKING:
    import polars as pl

    from webcam_ml.labels._values import LabelValues

# How often a retrain of the same labels is tried before somebody has to look.
MAX_ATTEMPTS = 3


class GrowthSettings(Settings):
    """How much growth is worth a retrain, and how often there may be one.

    Attributes:
        min_new_labels: So many new or changed labels at least, and
        growth_fraction: this share of the labels that the last training had, whichever is more.
        min_interval: From the start of one retrain to the start of the next, at least.
    """

    min_new_labels: Annotated[
        int, Why("labels that did not grow give the model that is there already")
    ] = Field(default=50, ge=1)
    growth_fraction: Annotated[
        float, Why("0.05 is one label in twenty, 0 leaves min_new_labels alone to decide")
    ] = Field(default=0.05, ge=0)
    min_interval: Annotated[timedelta, Why("0 lets one retrain follow the other")] = Field(
        default=timedelta(hours=1), ge=timedelta(0)
    )

    def needed(self, labels_before: float) -> int:
        """Say how many new or changed labels are enough, given how many there were, by weight."""
        # Exact, from the decimal as written: in floats, 0.07 of 100 labels is a little more than 7.
        share = Fraction(str(self.growth_fraction)) * Fraction(str(labels_before))
        return max(self.min_new_labels, math.ceil(share))


@dataclass(frozen=True)
class JudgeGrowth:
    """How the labels of one judge have changed: of snapshots that no person voted on.

    Attributes:
        judge: Its name.
        weight: What one of them counts, where one of a person counts 1.
        before: How many the training had.
        grown: How many are new, or have another score.
    """

    judge: str
    weight: float
    before: int
    grown: int


@dataclass(frozen=True)
class LabelGrowth:
    """How the labels have changed since a training.

    Attributes:
        before: Labels that the training had.
        now: Labels that there are now.
        new: Labels of snapshots that had none.
        changed: Labels of snapshots that had another value, or belonged to another webcam.
        gone: Snapshots that had a label and have none now.
        new_webcams: Webcams with a label now that had none.
        new_positives: Snapshots at or above the threshold now that were not; None where the target
            has no threshold.
        judges: What judges added to all that, which are people's labels.
    """

    before: int
    now: int
    new: int
    changed: int
    gone: int
    new_webcams: int
    new_positives: int | None
    judges: tuple[JudgeGrowth, ...] = ()

    @property
    def grown(self) -> float:
        """New plus changed labels, by weight; judges never count more than people do."""
        return self._with_judges(self.new + self.changed, [one.grown for one in self.judges])

    @property
    def before_by_weight(self) -> float:
        """Labels that the training had, counted in the same way."""
        return self._with_judges(self.before, [one.before for one in self.judges])

    def _with_judges(self, of_people: int, numbers: list[int]) -> float:
        weights = [one.weight for one in self.judges]
        added = sum(weight * number for weight, number in zip(weights, numbers, strict=True))
        # Judges score every picture, day by day: by weight alone they would decide when to retrain.
        # Weights have six decimals; what a sum of floats adds behind them decides nothing.
        return of_people + min(round(added, 6), of_people)

    def details(self) -> str:
        """Say what the growth consists of, in a few words; empty if there is nothing to say."""
        counts = (
            (self.changed, "changed"),
            (self.new_webcams, "new webcam" if self.new_webcams == 1 else "new webcams"),
            (self.new_positives, "new positive" if self.new_positives == 1 else "new positives"),
            (self.gone, "gone"),
        )
        told = [f"{number:,} {what}" for number, what in counts if number]
        told += [
            f"{one.grown:,} by {printable(one.judge)} that weigh {one.weight:.3g} each"
            for one in self.judges
            if one.grown
        ]
        if any(one.grown * one.weight for one in self.judges):
            told.append("of judges at most as many as of people")
        return f" ({', '.join(told)})" if told else ""


def label_growth(
    before: "LabelValues",
    now: "LabelValues",
    *,
    positive_from: float | None,
    weights: Mapping[str, float] | None = None,
) -> LabelGrowth:
    """Compare labels with those of a training, snapshot by snapshot.

    Args:
        before: What the training had.
        now: What there is.
        positive_from: Labels of at least so many stars are positive; None if that means nothing.
        weights: Judge → what one of its labels counts; one without a weight counts nothing.
    """
    import polars as pl

    both = before.frame.join(now.frame, on="snapshot_id", how="full", suffix="_now", coalesce=True)
    # A missing value means something here: the label is new or gone.
    had, has = pl.col("label_value").is_not_null(), pl.col("label_value_now").is_not_null()
    differs = (pl.col("label_value") != pl.col("label_value_now")) | (
        pl.col("webcam_id") != pl.col("webcam_id_now")
    )
    counts = both.select(
        new=(has & ~had).sum(),
        changed=(has & had & differs).sum(),
        gone=(had & ~has).sum(),
    ).row(0, named=True)
    new_positives = None
    if positive_from is not None:
        was = (pl.col("label_value") >= positive_from).fill_null(value=False)
        is_now = (pl.col("label_value_now") >= positive_from).fill_null(value=False)
        new_positives = both.select((is_now & ~was).sum()).item()
    return LabelGrowth(
        before=before.frame.height,
        now=now.frame.height,
        new=counts["new"],
        changed=counts["changed"],
        gone=counts["gone"],
        new_webcams=now.frame.select("webcam_id")
        .unique()
        .join(before.frame, on="webcam_id", how="anti")
        .height,
        new_positives=new_positives,
        judges=_growth_of_judges(before.judged, now.judged, weights or {}),
    )


def _growth_of_judges(
    before: "pl.DataFrame | None", now: "pl.DataFrame | None", weights: Mapping[str, float]
) -> tuple[JudgeGrowth, ...]:
    if now is None:
        return ()
    had = now.clear() if before is None else before
    grown = now.join(had, on=["snapshot_id", "judge", "score"], how="anti")
    then, new = (dict(one.group_by("judge").len().iter_rows()) for one in (had, grown))
    return tuple(
        JudgeGrowth(name, weights.get(name, 0.0), before=then.get(name, 0), grown=new.get(name, 0))
        for name in sorted({*then, *new})
    )


@dataclass(frozen=True)
class Decision:
    """Whether to retrain, and why.

    Attributes:
        retrain: Whether.
        reason: One sentence.
        attempt: Which attempt with these labels this is, from 1; 0 without a retrain.
    """

    retrain: bool
    reason: str
    attempt: int = 0


def decide(
    growth: LabelGrowth,
    *,
    since: datetime | None,
    settings: GrowthSettings,
    failed: int = 0,
    done: bool = False,
) -> Decision:
    """Decide whether labels have grown enough for a retrain.

    Args:
        growth: How they have changed.
        since: When the training was that they are compared with; None if there was none.
        settings: How much is enough.
        failed: How many retrains of exactly these labels have failed.
        done: Whether a retrain of exactly these labels has come to its end.
    """
    needed = settings.needed(growth.before_by_weight)
    by_weight = "by weight " if growth.judges else ""
    counted = (
        f"{_shown(growth.grown)} of {needed:,} new labels {by_weight}{_occasion(since)}"
        f"{growth.details()}"
    )
    if growth.grown < needed:
        return Decision(False, f"{counted}.")
    if done:
        return Decision(False, f"{counted}, but a retrain of exactly these labels is done already.")
    if failed >= MAX_ATTEMPTS:
        return Decision(
            False,
            f"{counted}, but {failed} retrains of exactly these labels have failed: the next one "
            "waits until labels change, or for somebody to mend the cause and start it by hand.",
        )
    again = f", attempt {failed + 1} of {MAX_ATTEMPTS}" if failed else ""
    return Decision(True, f"{counted}: retrain{again}.", attempt=failed + 1)


def _shown(number: float) -> str:
    """Write a count; cut off and never rounded up, so that less than enough looks like less."""
    tenths = math.floor(number * 10)
    return f"{tenths // 10:,}" if tenths % 10 == 0 else f"{tenths / 10:,.1f}"


def _occasion(since: datetime | None) -> str:
    if since is None:
        return "for a first training"
    return f"since {utc_minute(since)}"


def utc_minute(moment: datetime) -> str:
    """Write a moment to the minute, as a sentence wants it."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
