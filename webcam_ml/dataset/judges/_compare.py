"""Whether judges say the same as when another model was trained.

Calibrations of one judge differ a little with every rating. Moved has one that differs by more than
chance explains in both together; how often that is said wrongly, and what it notices, stands in
``docs/labels.md``.
"""

from dataclasses import dataclass
from math import hypot

import numpy as np

from webcam_ml.dataset.judges._calibration import Calibration
from webcam_ml.dataset.judges._chance import distance
from webcam_ml.dataset.judges._heard import HeardJudges
from webcam_ml.dataset.judges._monotone import DECIMALS, MonotoneMap


@dataclass(frozen=True)
class JudgeComparison:
    """A judge that speaks in at least one of two manifests.

    Attributes:
        judge: Its name.
        differs: What is not as before, in words; None if nothing is.
        moved: Whether it speaks in both, and its scores mean something else or earn another weight.
        apart: How far the maps of targets are apart, as a root mean square over typical scores; None
            where it speaks in one only, or the two are asked for different targets.
        apart_by_chance: How far chance explains.
        weight_before: Of one of its labels, in training; 0 where it did not speak, as for `weight_now`.
        weight_by_chance: How far chance explains that the two differ.
        cut_before: For reading only, like `cut_now`.
    """

    judge: str
    differs: str | None
    moved: bool = False
    apart: float | None = None
    apart_by_chance: float | None = None
    weight_before: float = 0.0
    weight_now: float = 0.0
    weight_by_chance: float | None = None
    cut_before: float | None = None
    cut_now: float | None = None

    @property
    def is_not_compared(self) -> bool:
        """Whether it speaks in both, but of different targets."""
        return self.differs is None and self.apart is None


def compare_judges(
    before: HeardJudges | None, now: HeardJudges | None, *, same_target: bool
) -> list[JudgeComparison]:
    """Compare what judges say with what they said before, in the order of their names.

    Args:
        before: Those of the other manifest; None if its label source heard none.
        now: Those of this one.
        same_target: Whether both manifests ask the same of a model: only then maps can be compared.
    """
    was, is_now = _by_name(before), _by_name(now)
    return [
        one
        for name in sorted(was.keys() | is_now.keys())
        if (one := _compare(name, was.get(name), is_now.get(name), same_target)) is not None
    ]


def _by_name(heard: HeardJudges | None) -> dict[str, Calibration]:
    judges = () if heard is None else heard.judges
    return {one.calibration.name: one.calibration for one in judges}


def _compare(
    name: str, was: Calibration | None, now: Calibration | None, same_target: bool
) -> JudgeComparison | None:
    spoke, speaks = (one is not None and one.speaks for one in (was, now))
    if was is not None and now is not None and spoke and speaks:
        if same_target:
            return _compare_calibrations(was, now)
        return JudgeComparison(name, None, weight_before=was.weight, weight_now=now.weight)
    if was is not None and spoke:
        why = "is not heard any more" if now is None else f"does not any more: {now.reason}"
        return JudgeComparison(name, f"{name} spoke and {why}", weight_before=was.weight)
    if now is not None and speaks:
        why = "was not heard before" if was is None else f"did not before: {was.reason}"
        return JudgeComparison(name, f"{name} speaks and {why}", weight_now=now.weight)
    return None


def _compare_calibrations(was: Calibration, now: Calibration) -> JudgeComparison:
    """Compare two of a judge that speaks: of the two errors neither is known from the other."""
    (map_then, *errors_then), (map_now, *errors_now) = _learned(was), _learned(now)
    apart = distance(map_then, map_now, at=np.array(now.typical_scores))
    by_chance, weight_by_chance = map(hypot, errors_then, errors_now)
    found = []
    if apart > by_chance:
        found.append(
            f"the same scores mean other targets ({apart:.3f} apart, chance explains {by_chance:.3f})"
        )
    if abs(now.weight - was.weight) > weight_by_chance:
        found.append(
            f"one of its labels weighs {now.weight:.3f} and weighed {was.weight:.3f} (chance "
            f"explains {weight_by_chance:.3f} between them)"
        )
    return JudgeComparison(
        judge=now.name,
        differs=f"{now.name} has moved: {' and '.join(found)}" if found else None,
        moved=bool(found),
        apart=round(apart, DECIMALS),
        apart_by_chance=round(by_chance, DECIMALS),
        weight_before=was.weight,
        weight_now=now.weight,
        weight_by_chance=round(weight_by_chance, DECIMALS),
        cut_before=was.cut,
        cut_now=now.cut,
    )


def _learned(judge: Calibration) -> tuple[MonotoneMap, float, float]:
    assert judge.target is not None
    assert judge.target_error is not None
    assert judge.weight_error is not None
    return judge.target, judge.target_error, judge.weight_error
