"""The picture of a comparison: both models with their intervals, and the difference that decides."""

from typing import TYPE_CHECKING

from webcam_ml.contracts import target_of
from webcam_ml.figures import BLUE, DARK, GREY, ORANGE, clear_axis, new_figure, png
from webcam_ml.judging._evidence import Evidence
from webcam_ml.judging._luck import allowed_error, bound_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 92
NAMES = {
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "f1": "F1",
    "brier": "Brier score (lower is better)",
    "mae": "MAE in stars (lower is better)",
    "rmse": "RMSE in stars (lower is better)",
    "spearman": "Spearman",
}


def draw_comparison(evidence: Evidence) -> bytes:
    """Draw candidate and live model side by side, and the primary difference against its margin.

    Args:
        evidence: What was measured; metrics without a value are left out.

    Returns:
        PNG.
    """
    champion = evidence.champion
    figure = new_figure(11, 4.6)
    rival = "no model live yet" if champion is None else f"live: {champion.model_version}"
    figure.suptitle(
        f"candidate: {evidence.candidate.model_version}\n{rival}", fontsize=11, color=DARK
    )
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    _draw_metrics(left, evidence)
    _draw_difference(right, evidence)
    for axis in (left, right):
        clear_axis(axis, rows=True)
    if left.lines or right.lines:
        figure.legend(loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    return png(figure, dpi=DPI)


def _draw_metrics(axis: "Axes", evidence: Evidence) -> None:
    champion = evidence.champion
    own = evidence.candidate.metrics
    paired = {} if champion is None else champion.metrics
    names = list(paired or own)
    for row, name in enumerate(names):
        sides = (
            [(paired[name].candidate, BLUE, "o", "candidate", -0.12),
             (paired[name].rival, ORANGE, "s", "live model", 0.12)]
            if paired
            else [(own[name], BLUE, "o", "candidate", 0.0)]
        )  # fmt: skip
        for interval, colour, marker, label, offset in sides:
            if interval.value is None:
                continue
            axis.plot(
                [interval.value], [row + offset], marker=marker, color=colour, linestyle="none",
                markersize=7, label=label if row == 0 else None,
            )  # fmt: skip
            above = offset <= 0
            axis.text(
                interval.value, row + offset + (-0.07 if above else 0.07), f"{interval.value:.3f}",
                ha="center", va="bottom" if above else "top", fontsize=8, color=colour,
            )  # fmt: skip
            if interval.low is not None and interval.high is not None:
                axis.plot([interval.low, interval.high], [row + offset] * 2, color=colour, lw=1.8)
    axis.set_yticks(range(len(names)), [NAMES[name] for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)
    rows = evidence.test_split if champion is None else champion
    axis.set_title(
        f"on {rows.rows:,} test pictures of {rows.webcams:,} webcams, with 95 % intervals",
        fontsize=10,
    )


def _draw_difference(axis: "Axes", evidence: Evidence) -> None:
    champion = evidence.champion
    pair = None if champion is None else champion.pair
    axis.set_yticks([])
    axis.set_ylim(-1, 1)
    if pair is None or pair.difference is None:
        axis.set_xticks([])
        axis.text(
            0.5, 0.5, "nothing to compare with", ha="center", va="center", transform=axis.transAxes,
            color=GREY,
        )  # fmt: skip
        return
    asked = target_of(evidence.target_type)
    higher, margin = asked.higher_is_better, asked.margin(evidence.settings)
    axis.axvline(0.0, color=GREY, linewidth=1)
    axis.axvline(margin, color=ORANGE, linewidth=1.6, linestyle="--", label="margin")
    axis.plot([pair.difference], [0], marker="o", color=BLUE, markersize=8)
    if pair.standard_error is not None:
        error = allowed_error(pair.candidate_number)
        bound = bound_of(pair, error, lower=higher)
        axis.plot(
            [bound, pair.difference], [0, 0], color=BLUE, lw=2.4,
            label=f"{'down' if higher else 'up'} to the one-sided {1 - error:.4%} bound",
        )  # fmt: skip
    axis.margins(x=0.25)
    side, name = "right" if higher else "left", asked.primary_metric_name
    axis.set_title(
        f"{name}: candidate − live, on {pair.rows:,} pictures of {' and '.join(pair.splits)}\n"
        f"the line must end {side} of the margin; candidate {pair.candidate_number}",
        fontsize=10,
    )
