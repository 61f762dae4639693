"""Plots of an eval_report, for someone who has never seen the project.

Each says in words what is shown, on how many pictures, and how certain it is. What differs in
colour differs in shape too.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from webcam_ml.contracts import STARS, target_of
from webcam_ml.evaluation._document import Baseline, EvalDocument, Reliability
from webcam_ml.evaluation._rows import SplitRows
from webcam_ml.figures import BLUE, DARK, GREY, ORANGE, clear_axis, new_figure, png
from webcam_ml.metrics import FloatArray, Interval, whole_stars

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 84
# Two standard errors of one picture: where 95 % of webcams lie if only chance moves them.
FUNNEL = 1.96
NAMED_WEBCAMS = 5


def draw_plots(document: EvalDocument, test: SplitRows) -> dict[str, bytes]:
    """Draw every plot of a report.

    Args:
        document: The report.
        test: The rows that it measured.

    Returns:
        File name → PNG.
    """
    main = {"roc_pr.png": _roc_and_precision_recall, "error_curve.png": _error_curve}
    name = target_of(document.target_type).main_plot
    draw: Mapping[str, Callable[[EvalDocument, SplitRows], Figure]] = {
        name: main[name],
        "reliability.png": _reliability,
        "score_by_star.png": _score_by_star,
        "error_by_webcam.png": _error_by_webcam,
    }
    return {name: png(function(document, test), dpi=DPI) for name, function in draw.items()}


def _figure(columns: int, title: str, subtitle: str) -> "tuple[Figure, list[Axes]]":
    figure = new_figure(6.2 * columns if columns > 1 else 8.2, 5.8)
    figure.suptitle(f"{title}\n", fontsize=14, fontweight="bold", color=DARK)
    figure.text(0.5, 0.935, subtitle, ha="center", va="center", fontsize=10, color="#555555")
    axes = [figure.add_subplot(1, columns, index + 1) for index in range(columns)]
    for axis in axes:
        clear_axis(axis)
    return figure, axes


def _legend_below(figure: "Figure", *, columns: int) -> None:
    # Inside the axes there is no corner that is empty for every model.
    figure.legend(loc="outside lower center", ncols=columns, fontsize=9, frameon=False)


def _basis(document: EvalDocument) -> str:
    split = document.test_split
    return (
        f"{split.rows:,} test pictures from {split.webcams:,} webcams that the model has never seen, "
        f"{split.positives:,} of them rated {split.positive_from_stars:g} stars or better"
    )


def _words(interval: Interval, digits: int = 2) -> str:
    if interval.value is None:
        return "not defined"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.{digits}f} (no interval)"
    return (
        f"{interval.value:.{digits}f} (95 %: {interval.low:.{digits}f}–{interval.high:.{digits}f})"
    )


def _channel_means(document: EvalDocument) -> Baseline | None:
    """Give the baseline that uses mean colours; None if no pictures were at hand."""
    return next((one for one in document.baselines if one.name == "channel_means"), None)


# --- binary ---------------------------------------------------------------------------------------


def _curve(target: FloatArray, score: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Rows, and positives among them, at or above each distinct score, from the highest down."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(score) - 1)
    chosen = np.append(0.0, ends + 1.0)
    true = np.append(0.0, np.cumsum(target[order])[ends])
    return chosen, true, ordered[ends]


def _roc_and_precision_recall(document: EvalDocument, test: SplitRows) -> "Figure":
    figure, (left, right) = _figure(
        2, "Does the model put the good sunsets on top?", _basis(document)
    )
    positives = float(test.target.sum())
    negatives = test.rows - positives
    curves = [("model", test.prediction, document.metrics, BLUE, 2.4, "-")]
    if (baseline := _channel_means(document)) and test.channel_means is not None:
        curves.append(("mean colour only", test.channel_means, baseline.metrics, ORANGE, 1.6, "--"))
    if positives and negatives:
        for name, score, metrics, colour, width, style in curves:
            chosen, true, _ = _curve(test.target, score)
            left.plot(
                (chosen - true) / negatives, true / positives,
                color=colour, linewidth=width, linestyle=style,
                label=f"{name}: area {_words(metrics['roc_auc'])}",
            )  # fmt: skip
            right.step(
                true / positives, np.append(true[1] / chosen[1], true[1:] / chosen[1:]),
                where="pre",
                color=colour, linewidth=width, linestyle=style,
                label=f"{name}: average precision {_words(metrics['average_precision'])}",
            )  # fmt: skip
        counts = document.confusion
        if counts is not None:
            label = f"at the decision threshold {document.decision_threshold:.2f}"
            points = [(left, counts.fp / negatives, counts.tp / positives)]
            if counts.tp + counts.fp:
                points.append((right, counts.tp / positives, counts.tp / (counts.tp + counts.fp)))
            for axis, x, y in points:
                axis.scatter(x, y, marker="o", s=75, color=DARK, zorder=5, label=label)
    else:
        for axis in (left, right):
            axis.text(
                0.5, 0.5, "All test pictures are of one class:\nthere is nothing to rank.",
                ha="center", va="center", fontsize=12,
            )  # fmt: skip
    left.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="chance: area 0.50")
    share = positives / test.rows
    right.axhline(
        share, color=GREY, linewidth=1, linestyle=":", label=f"chance: {share:.2f} are good"
    )
    left.set(
        title="ROC: good ones found against false alarms",
        xlabel="share of the other pictures wrongly called good",
        ylabel="share of the good pictures found",
    )
    right.set(
        title="Precision and recall",
        xlabel="share of the good pictures found (recall)",
        ylabel="share of good ones among the chosen (precision)",
    )
    for axis in (left, right):
        axis.set_xlim(-0.02, 1.02)
        axis.set_ylim(-0.02, 1.04)
    left.legend(loc="lower right", fontsize=9, framealpha=0.9, edgecolor="none")
    right.legend(loc="best", fontsize=9, framealpha=0.9, edgecolor="none")
    return figure


# --- regression -----------------------------------------------------------------------------------


def _error_curve(document: EvalDocument, test: SplitRows) -> "Figure":
    figure, (left, right) = _figure(
        2, "How far is the model from what people said?", _basis(document)
    )
    median = next(one for one in document.baselines if one.name == "median")
    always = np.full(test.rows, median.constant)
    curves = [("model", test.prediction, document.metrics["mae"], BLUE, 2.4, "-")]
    if (baseline := _channel_means(document)) and test.channel_means is not None:
        curves.append(
            ("mean colour only", test.channel_means, baseline.metrics["mae"], ORANGE, 1.6, "--")
        )
    curves.append(("always the median", always, median.metrics["mae"], GREY, 1.6, ":"))
    for name, prediction, mae, colour, width, style in curves:
        off = np.sort(np.abs(prediction - test.target))
        left.step(
            np.append(0.0, off), np.arange(test.rows + 1) / test.rows, where="post",
            color=colour, linewidth=width, linestyle=style,
            label=f"{name}: off by {_words(mae)} on average",
        )  # fmt: skip
    left.set(
        title="Share of pictures within so many stars",
        xlabel="difference between prediction and rating, in stars",
        ylabel="share of pictures that are at most so far off",
    )
    left.set_xlim(0, 4)
    left.set_ylim(0, 1.02)
    left.legend(loc="lower right", fontsize=9, framealpha=0.9, edgecolor="none")
    for one in document.by_star:
        if one.mae is not None:
            _with_interval(right, float(one.stars), one.mae)
    right.set(
        title="Error by what people gave",
        xlabel="rating by people, rounded to whole stars",
        ylabel="mean difference, in stars",
    )
    _star_ticks(right, document)
    right.set_ylim(bottom=0)
    return figure


# --- both -----------------------------------------------------------------------------------------


def _with_interval(axis: "Axes", x: float, interval: Interval, label: str | None = None) -> None:
    if interval.value is None:
        return
    if interval.low is not None and interval.high is not None:
        axis.plot([x, x], [interval.low, interval.high], color=BLUE, linewidth=2, alpha=0.55)
    axis.scatter([x], [interval.value], color=BLUE, marker="o", s=46, zorder=4, label=label)


def _star_ticks(axis: "Axes", document: EvalDocument) -> None:
    axis.set_xticks(
        list(STARS), [f"{one.stars}★\n{one.rows:,} pictures" for one in document.by_star]
    )
    axis.set_xlim(0.5, 5.5)


def _reliability(document: EvalDocument, test: SplitRows) -> "Figure":
    words = test.asked.plot_words
    figure, (axis,) = _figure(1, words.reliability, _basis(document))
    low, high = test.asked.scale
    axis.plot([low, high], [low, high], color=GREY, linewidth=1, linestyle=":", label="perfect")
    before, after = document.reliability.uncalibrated, document.reliability.calibrated
    if before is not None:
        axis.plot(
            [one.mean_prediction for one in before.bins],
            [one.mean_target.value or 0.0 for one in before.bins],
            color=ORANGE, marker="s", markersize=6, linewidth=1, linestyle="--",
            markerfacecolor="none", label=f"before calibration{_calibration_words(before)}",
        )  # fmt: skip
    for index, one in enumerate(after.bins):
        label = None
        if index == 0:
            label = f"{words.reliability_point}{_calibration_words(after)}"
        _with_interval(axis, one.mean_prediction, one.mean_target, label)
    per_bin = round(test.rows / max(1, len(after.bins)))
    axis.set(
        xlabel=words.mean_prediction,
        ylabel=words.mean_target,
        title=f"each point: about {per_bin} pictures of similar score, with its 95 % interval",
    )
    axis.title.set_fontsize(10)
    margin = 0.03 * (high - low)
    axis.set_xlim(low - margin, high + margin)
    axis.set_ylim(low - margin, high + margin)
    _legend_below(figure, columns=1)
    return figure


def _calibration_words(reliability: Reliability) -> str:
    if reliability.calibration_error is None or reliability.perfect_model_error is None:
        return ""
    return (
        f": off by {_words(reliability.calibration_error, 3)};"
        f" chance alone: {reliability.perfect_model_error:.3f}"
    )


def _score_by_star(document: EvalDocument, test: SplitRows) -> "Figure":
    words = test.asked.plot_words
    figure, (axis,) = _figure(1, "Do better pictures get better scores?", _basis(document))
    stars = whole_stars(test.label_value)
    for star in STARS:
        values = np.sort(test.prediction[stars == star])
        if not len(values):
            continue
        # Spread sideways by the golden ratio: looks random, and is the same in every run.
        offset = ((np.arange(len(values)) * 0.618034) % 1.0 - 0.5) * 0.62
        alpha = float(np.clip(40.0 / len(values), 0.12, 0.7))
        axis.scatter(
            star + offset, values, s=14, color=BLUE, alpha=alpha, linewidths=0,
        )  # fmt: skip
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        axis.plot(
            [star, star], [low, high], color=DARK, linewidth=7, alpha=0.35, solid_capstyle="butt"
        )
        axis.plot(
            [star - 0.33, star + 0.33], [middle, middle], color=DARK, linewidth=2.4,
        )  # fmt: skip
    # Adds no dot to the plot, only a clear one to the legend, however pale those of the plot are.
    axis.scatter([], [], s=14, color=BLUE, alpha=0.7, linewidths=0, label="one picture")
    axis.plot([], [], color=DARK, linewidth=2.4, label="median, with the middle half in grey")
    if document.decision_threshold is not None:
        axis.axhline(
            document.decision_threshold, color=ORANGE, linewidth=1.4, linestyle="--",
            label=f"decision threshold {document.decision_threshold:.2f}",
        )  # fmt: skip
    if test.asked.in_stars:
        axis.plot(
            [1, 5], [1, 5], color=GREY, linewidth=1, linestyle=":", label="prediction = rating"
        )
    axis.set(
        xlabel="rating by people, rounded to whole stars",
        ylabel=words.prediction,
    )
    _star_ticks(axis, document)
    axis.set_ylim(*words.prediction_limits)
    _legend_below(figure, columns=3)
    return figure


def _error_by_webcam(document: EvalDocument, test: SplitRows) -> "Figure":
    figure, (axis,) = _figure(1, "Which cameras does the model misjudge?", _basis(document))
    webcams, code = np.unique(test.webcam_id, return_inverse=True)
    count = np.bincount(code).astype(np.float64)
    surplus = test.prediction - test.target
    off = np.bincount(code, weights=surplus) / count
    spread = test.asked.chance_spread(test.prediction, surplus - off[code])
    sizes = np.geomspace(0.9, 2.2 * max(2.0, count.max()), 200)
    axis.fill_between(
        sizes, -FUNNEL * spread / np.sqrt(sizes), FUNNEL * spread / np.sqrt(sizes),
        color="#DDE7EE", zorder=0, label="what chance explains, in 95 % of cameras",
    )  # fmt: skip
    axis.axhline(0.0, color=GREY, linewidth=1)
    outside = np.abs(off) > FUNNEL * spread / np.sqrt(count)
    for mask, colour, marker, label in (
        (~outside, BLUE, "o", f"{int((~outside).sum())} cameras as expected"),
        (outside, ORANGE, "D", f"{int(outside.sum())} cameras further off than that"),
    ):
        axis.scatter(
            count[mask], off[mask], s=34, color=colour, marker=marker, alpha=0.75, linewidths=0,
            label=label,
        )  # fmt: skip
    limit = 1.08 * max(float(np.abs(off).max()), 0.25)
    worst = np.argsort(-np.abs(off) * np.sqrt(count), kind="stable")[:NAMED_WEBCAMS]
    named: list[tuple[float, float]] = []
    for i in worst[outside[worst]]:
        x, y = float(np.log10(count[i])), float(off[i] / limit)
        # Names that overlap cannot be read; the list in eval_report.json has them all.
        if any(abs(x - left) < 0.4 and abs(y - height) < 0.07 for left, height in named):
            continue
        named.append((x, y))
        axis.annotate(
            f"webcam {webcams[i]}", (count[i], off[i]), xytext=(7, 0), textcoords="offset points",
            fontsize=9, color=DARK, va="center",
        )  # fmt: skip
    axis.set_xscale("log")
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if tick <= sizes[-1]]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.set_xlim(sizes[0], sizes[-1])
    axis.set_ylim(-limit, limit)
    axis.set(
        xlabel="test pictures of the camera",
        ylabel=test.asked.plot_words.surplus,
        title="above the line: rated too high by the model; below: too low",
    )
    axis.title.set_fontsize(10)
    _legend_below(figure, columns=3)
    return figure
