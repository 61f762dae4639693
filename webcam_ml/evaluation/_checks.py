"""The checks on eval_report, each a pure function from the stored evidence to a verdict.

``enough_test_data`` and ``beats_trivial_baselines`` are gates of promotion; ``calibrated`` and
``no_weak_slice`` warn. The disagreement report is made whether or not they pass: curators need it
when a model is weak.
"""

from dataclasses import dataclass
from typing import Protocol

from webcam_ml.contracts import target_of
from webcam_ml.evaluation._document import Baseline, EvalDocument
from webcam_ml.evaluation._report import EvalReport
from webcam_ml.evaluation._verdict import Verdict


class Size(Protocol):
    """How large a set of rows is: a split, or the rows that two models share."""

    @property
    def rows(self) -> int: ...
    @property
    def webcams(self) -> int: ...
    @property
    def effective_webcams(self) -> float: ...
    @property
    def positives(self) -> int: ...
    @property
    def webcams_with_a_positive(self) -> int: ...


@dataclass(frozen=True)
class EvalLimits:
    """What the checks ask for.

    Attributes:
        min_rows: Rows of the test split.
        min_webcams: Webcams of the test split.
        min_rows_of_each_class: Rows of the rarer class; for regression, of each half of the scale.
        min_webcams_with_a_positive: Webcams with at least one positive row.
        min_effective_webcams: k = (Σn)²/Σn²: no interval is worth much below it.
        max_calibration_error: How far scores may be off, beyond what chance explains.
    """

    min_rows: int = 100
    min_webcams: int = 20
    min_rows_of_each_class: int = 20
    min_webcams_with_a_positive: int = 8
    min_effective_webcams: float = 5.0
    max_calibration_error: float = 0.05

    def compared_with(self, size: Size) -> dict[str, tuple[float, float]]:
        """Give what a set of rows has and what it needs, by what is counted."""
        return {
            "rows": (size.rows, self.min_rows),
            "webcams": (size.webcams, self.min_webcams),
            "positives": (size.positives, self.min_rows_of_each_class),
            "negatives": (size.rows - size.positives, self.min_rows_of_each_class),
            "webcams_with_a_positive": (
                size.webcams_with_a_positive,
                self.min_webcams_with_a_positive,
            ),
            "effective_webcams": (size.effective_webcams, self.min_effective_webcams),
        }

    def shortage(self, size: Size) -> str:
        """Say in words what a set of rows lacks; empty if nothing."""
        return ", ".join(
            f"{value:g} of {needed:g} {what.replace('_', ' ')}"
            for what, (value, needed) in self.compared_with(size).items()
            if value < needed
        )


DEFAULT_LIMITS = EvalLimits()


def enough_test_data(report: EvalReport, limits: EvalLimits = DEFAULT_LIMITS) -> Verdict:
    """Judge whether the test split can carry a verdict at all.

    Args:
        report: The evidence.
        limits: How much is enough.
    """
    split = report.document.test_split
    numbers: dict[str, float | int | str | None] = {}
    for name, (value, needed) in limits.compared_with(split).items():
        numbers[name] = value
        numbers[f"min_{name}"] = needed
    numbers["positive_from_stars"] = split.positive_from_stars
    if short := limits.shortage(split):
        return Verdict(
            False,
            f"The test split is too small to judge by: it has {short} that are needed. "
            "Rate pictures of more webcams, or give test a larger percentage in manifest_full.",
            numbers,
        )
    return Verdict(
        True,
        f"The test split has {split.rows} rows of {split.webcams} webcams, {split.positives} of "
        "them positive.",
        numbers,
    )


def beats_trivial_baselines(report: EvalReport, *, without_pictures: bool = False) -> Verdict:
    """Judge whether the model has learned more than what is trivial.

    The one-sided 95 % bound of the improvement in the primary metric must be above 0 against every
    baseline that competes in it: for AUC the prior (whose AUC is one half, so that the model's own
    bound decides) and the channel means, for MAE the median and the channel means. One-sided,
    because only worse counts against a model, as in the comparison with the live one.

    Args:
        report: The evidence.
        without_pictures: Whether the channel means need not have been measured.
    """
    document = report.document
    competing = target_of(document.target_type).competing
    rivals = [one for one in document.baselines if one.name in competing]
    numbers: dict[str, float | int | str | None] = {"metric": document.primary_metric}
    measured = {one.name for one in rivals}
    missing = [name.replace("_", " ") for name in competing if name not in measured]
    failed = [] if without_pictures else [f"{name} (not measured)" for name in missing]
    for rival in rivals:
        numbers[f"improvement_over_{rival.name}"] = rival.improvement.value
        numbers[f"lower_bound_over_{rival.name}"] = rival.improvement_lower_bound
        bound = rival.improvement_lower_bound
        if bound is None or bound <= 0.0:
            failed.append(_not_beaten(rival, document))
    if failed:
        return Verdict(False, f"Not shown to be better than {'; nor than '.join(failed)}.", numbers)
    names = " and ".join(one.name.replace("_", " ") for one in rivals)
    return Verdict(
        True,
        f"Better than {names}, by the one-sided 95 % bound of {document.primary_metric}."
        + (
            f" Not compared with {', '.join(missing)}: no pictures were at hand." if missing else ""
        ),
        numbers,
    )


def _not_beaten(rival: Baseline, document: EvalDocument) -> str:
    name = rival.name.replace("_", " ")
    gain = rival.improvement
    if gain.value is None or rival.improvement_lower_bound is None:
        return f"{name} ({gain.reason})"
    return (
        f"{name} ({document.primary_metric} better by {gain.value:.3f}, but perhaps only by "
        f"{rival.improvement_lower_bound:.3f})"
    )


def calibrated(report: EvalReport, limits: EvalLimits = DEFAULT_LIMITS) -> Verdict:
    """Judge whether scores mean what they say.

    Fails only if even the lower end of the calibration error's interval, less what a perfect model
    would show on these rows, is above the limit: a plain limit fires on perfect models.

    Args:
        report: The evidence.
        limits: How much error is tolerated.
    """
    reliability = report.document.reliability.calibrated
    if reliability.calibration_error is None or reliability.perfect_model_error is None:
        return Verdict(
            True, "A regression model's output is a rating, not a probability to calibrate.", {}
        )
    error, perfect = reliability.calibration_error, reliability.perfect_model_error
    excess = None if error.low is None else round(error.low - perfect, 6)
    numbers: dict[str, float | int | str | None] = {
        "calibration_error": error.value,
        "low": error.low,
        "perfect_model_error": perfect,
        "excess": excess,
        "max_calibration_error": limits.max_calibration_error,
    }
    if excess is None:
        return Verdict(True, f"The calibration error cannot be judged: {error.reason}.", numbers)
    if excess > limits.max_calibration_error:
        return Verdict(
            False,
            f"Scores are off by at least {excess:.3f} more than chance explains "
            f"(limit {limits.max_calibration_error:g}): do not read them as probabilities.",
            numbers,
        )
    return Verdict(
        True,
        f"The calibration error of {error.value:.3f} is no proof against the scores: a perfect "
        f"model would show {perfect:.3f} on these rows.",
        numbers,
    )


def no_weak_slice(report: EvalReport) -> Verdict:
    """Judge whether some part of the test split is clearly worse than the whole.

    A slice of at least 30 rows is weak if the better end of its interval is still worse than the
    whole by more than a margin (0.05 AUC, 0.2 stars of MAE). Slices that are too thin to judge are
    named: of them nothing is known.

    Args:
        report: The evidence.
    """
    slices = report.document.slices
    weak = [one for one in slices if one.weak]
    numbers: dict[str, float | int | str | None] = {
        "slices": len(slices),
        "judged": sum(one.weak is not None for one in slices),
        "weak": len(weak),
    }
    thin = [f"{one.by} {one.group}" for one in slices if one.weak is None]
    unknown = f" Too thin to judge: {', '.join(thin)}." if thin else ""
    if weak:
        which = "; ".join(f"{one.by} {one.group} ({one.reason})" for one in weak)
        return Verdict(False, f"Weak where it matters: {which}.{unknown}", numbers)
    return Verdict(
        True,
        f"None of {numbers['judged']} slices with enough rows is clearly weak.{unknown}",
        numbers,
    )
