"""Whether labels have grown enough for a retrain: comparison and decision, both pure functions.

Nothing here knows who starts a retrain, or where the labels of the last training are kept.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from webcam_ml.contracts import Settings, Why

if TYPE_CHECKING:
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

    def needed(self, labels_before: int) -> int:
        """Say how many new or changed labels are enough, given how many there were."""
        # Exact, from the decimal as written: in floats, 0.07 of 100 labels is a little more than 7.
        share = Fraction(str(self.growth_fraction)) * labels_before
        return max(self.min_new_labels, math.ceil(share))


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
    """

    before: int
    now: int
    new: int
    changed: int
    gone: int
    new_webcams: int
    new_positives: int | None

    @property
    def grown(self) -> int:
        """New plus changed labels: what a retrain could learn from."""
        return self.new + self.changed

    def details(self) -> str:
        """Say what the growth consists of, in a few words; empty if there is nothing to say."""
        counts = (
            (self.changed, "changed"),
            (self.new_webcams, "new webcam" if self.new_webcams == 1 else "new webcams"),
            (self.new_positives, "new positive" if self.new_positives == 1 else "new positives"),
            (self.gone, "gone"),
        )
        told = ", ".join(f"{number:,} {what}" for number, what in counts if number)
        return f" ({told})" if told else ""


def label_growth(
    before: "LabelValues", now: "LabelValues", *, positive_from: float | None
) -> LabelGrowth:
    """Compare labels with those of a training, snapshot by snapshot.

    Args:
        before: What the training had.
        now: What there is.
        positive_from: Labels of at least so many stars are positive; None if that means nothing.
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
    needed = settings.needed(growth.before)
    counted = f"{growth.grown:,} of {needed:,} new labels {_occasion(since)}{growth.details()}"
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


def _occasion(since: datetime | None) -> str:
    if since is None:
        return "for a first training"
    return f"since {utc_minute(since)}"


def utc_minute(moment: datetime) -> str:
    """Write a moment to the minute, as a sentence wants it."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
