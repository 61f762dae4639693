"""The picture of a fine-tuning: losses and validation metric, epoch by epoch."""

import io
import textwrap
from collections.abc import Mapping
from typing import Any

BLUE, ORANGE, GREY, DARK = "#0072B2", "#D55E00", "#8A8A8A", "#222222"
DPI = 110
METRIC_NAMES = {
    "roc_auc": "ROC AUC on validation (higher is better)",
    "mae": "mean absolute error on validation, in stars (lower is better)",
}


def draw_loss_curve(summary: Mapping[str, Any]) -> bytes:
    """Draw what `finetune` in train_summary.json says; equal summaries give equal bytes.

    Args:
        summary: The content of `Challenge.summary`.

    Returns:
        A PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    history = summary["history"]
    figure = Figure(figsize=(12.4, 5.8), layout="constrained")
    FigureCanvasAgg(figure)
    kept = "fine-tuned network" if summary["kept"] == "fine_tuned" else "probe"
    figure.suptitle(f"Fine-tuning: the {kept} was kept", fontsize=14, fontweight="bold", color=DARK)
    left, right = figure.subplots(1, 2)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#E6E6E6", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("epoch (0: the probe's head on the untouched backbone)")
        if summary["best_epoch"] is not None:
            axis.axvline(
                summary["best_epoch"], color=GREY, linestyle=":",
                label=f"best epoch: {summary['best_epoch']}",
            )  # fmt: skip
    for axis, name, colour, marker, label in (
        (left, "train_loss", BLUE, "o", "training (augmented)"),
        (left, "val_loss", ORANGE, "s", "validation"),
        (right, "val_metric", ORANGE, "s", "fine-tuned network"),
    ):
        points = [(entry["epoch"], entry[name]) for entry in history if entry[name] is not None]
        axis.plot(
            [epoch for epoch, _ in points], [value for _, value in points],
            color=colour, marker=marker, label=label,
        )  # fmt: skip
    left.set_ylabel("loss")
    right.set_ylabel(METRIC_NAMES[summary["metric"]])
    if history and history[0]["val_metric"] is not None:
        right.axhline(history[0]["val_metric"], color=BLUE, linestyle="--", label="probe")
    for axis in (left, right):
        axis.legend(fontsize=9, frameon=False)
    verdict = (
        f"Stopped: {summary['stopped']}. {summary['verdict'][0].upper()}{summary['verdict'][1:]}."
    )
    figure.supxlabel("\n".join(textwrap.wrap(verdict, 150)), fontsize=9, color="#555555")
    buffer = io.BytesIO()
    # Without the name of the software that drew it, which changes with every release.
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
