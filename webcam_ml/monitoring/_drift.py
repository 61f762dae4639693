"""Whether scores and pictures are still like those that the model was judged on.

Not whether the model is still good: the world may move without harm, and a model may fail where nothing
seems to have moved. What is compared are webcams, not frames: a hundred frames of one camera are one
observation of what cameras see.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import stats

PICTURE_STATISTICS = ("brightness", "contrast", "warmth")
STATISTICS = ("raw_score", *PICTURE_STATISTICS)
EVERYTHING = "all"

# Pixels that are looked at, at most, in each direction.
SIDE = 256
FEWEST_WEBCAMS = 5

LARGEST_CHANCE_OF_DRIFT = 1e-3
"""Below this a difference is an alarm; so rarely that a year of audits has less than one."""
SMALLEST_SHIFT = 0.25
"""In standard deviations between webcams; a smaller difference is none that matters."""
FEWEST_WEBCAMS_OF_AN_ALARM = 20


@dataclass(frozen=True)
class Drift:
    """How far one number of one group of frames has moved.

    Attributes:
        statistic: One of `STATISTICS`.
        group: `all`, a phase, or a month like 2026-02.
        frames: Served now, of so many webcams.
        webcams: Of which they are.
        webcams_then: Of the test split.
        then: Mean over webcams of the test split.
        now: Mean over webcams that are served.
        low: Of the difference, 95 % interval over webcams.
        high: Likewise.
        p_value: Of no difference, by Welch's test over webcams.
        alarms: Whether somebody should look. Months are shown and raise no alarm.
    """

    statistic: str
    group: str
    frames: int
    webcams: int
    webcams_then: int
    then: float
    now: float
    low: float
    high: float
    p_value: float
    alarms: bool


def picture_statistics(pixels: npt.NDArray[np.uint8]) -> dict[str, float]:
    """Describe a picture by three numbers that no model is needed for.

    Args:
        pixels: [height, width, 3], uint8, RGB.

    Returns:
        `brightness`, the mean of the luma, and `contrast`, its standard deviation, both 0 to 1, and
        `warmth`, how much more red than blue there is, −1 to 1.
    """
    step = max(1, min(pixels.shape[:2]) // SIDE)
    some = pixels[::step, ::step] / 255
    luma = some @ np.array([0.299, 0.587, 0.114])
    return {
        "brightness": float(luma.mean()),
        "contrast": float(luma.std()),
        "warmth": float((some[..., 0] - some[..., 2]).mean()),
    }


def drift(then: pl.DataFrame, now: pl.DataFrame) -> list[Drift]:
    """Compare frames that are served with frames of the test split.

    Args:
        then: `webcam_id`, `phase`, and `STATISTICS` of the test rows; null where unknown.
        now: The same of served frames, and `captured_at`.

    Returns:
        For each statistic and group with enough webcams how far it has moved; the whole first.
    """
    found: list[Drift] = []
    months = now["captured_at"].str.head(7).unique().drop_nulls().sort()
    phases = then["phase"].unique().drop_nulls().sort()
    for statistic in STATISTICS:
        found += _moved(statistic, EVERYTHING, then, now, may_alarm=True)
        for phase in phases:
            of_phase = pl.col("phase") == phase
            found += _moved(
                statistic, phase, then.filter(of_phase), now.filter(of_phase), may_alarm=True
            )
        for month in months:
            served = now.filter(pl.col("captured_at").str.starts_with(month))
            found += _moved(statistic, month, then, served, may_alarm=False)
    return found


def _moved(
    statistic: str, group: str, then: pl.DataFrame, now: pl.DataFrame, *, may_alarm: bool
) -> Iterator[Drift]:
    before, after = (_webcam_means(frame, statistic) for frame in (then, now))
    if min(len(before), len(after)) < FEWEST_WEBCAMS:
        return
    difference, low, high, chance = welch(before, after)
    many = min(len(before), len(after)) >= FEWEST_WEBCAMS_OF_AN_ALARM
    matters = abs(difference) > SMALLEST_SHIFT * before.std(ddof=1)
    yield Drift(
        statistic=statistic,
        group=group,
        frames=now[statistic].drop_nulls().len(),
        webcams=len(after),
        webcams_then=len(before),
        then=float(before.mean()),
        now=float(after.mean()),
        low=low,
        high=high,
        p_value=chance,
        alarms=bool(may_alarm and many and matters and chance < LARGEST_CHANCE_OF_DRIFT),
    )


def _webcam_means(frame: pl.DataFrame, statistic: str) -> npt.NDArray[np.float64]:
    known = frame.drop_nulls(statistic)
    return (
        known.group_by("webcam_id", maintain_order=True)
        .agg(pl.col(statistic).mean())[statistic]
        .to_numpy()
    )


def welch(
    before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """Give the difference of two means, its 95 % interval and the chance of none, by Welch's test.

    Welch, B. L. (1947). The generalization of "Student's" problem when several different population
    variances are involved. Where there is no spread at all, any difference is certain.
    """
    difference = float(after.mean() - before.mean())
    parts = [values.var(ddof=1) / len(values) for values in (before, after)]
    error = float(np.sqrt(sum(parts)))
    if error == 0:
        return difference, difference, difference, float(difference == 0)
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (before, after), strict=True)
    )
    reach = float(stats.t.ppf(0.975, freedom)) * error
    chance = 2 * float(stats.t.sf(abs(difference) / error, freedom))
    return difference, difference - reach, difference + reach, chance


def sentence_of(moved: Sequence[Drift]) -> str:
    """Say what has moved, and what to do, in the words of the person who reads the alarm."""
    what = "; ".join(
        f"{one.statistic} of {one.group} is {one.now:.3f} where the test split had {one.then:.3f} "
        f"({one.low:+.3f} to {one.high:+.3f}, {one.webcams:,} and {one.webcams_then:,} webcams)"
        for one in moved
    )
    return (
        f"{what}. The model was judged on other pictures than it sees now: other cameras, another season, "
        "or test pictures that were chosen to be rated. Rate some of the new (rating_queue), and the next "
        "training is judged on them, too."
    )
