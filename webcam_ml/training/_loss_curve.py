"""The picture of a fine-tuning: losses and validation metric, epoch by epoch."""

import textwrap
from collections.abc import Mapping
from typing import Any

from webcam_ml.figures import BLUE, DARK, GREY, ORANGE, clear_axis, new_figure, png

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
    from matplotlib.ticker import MaxNLocator

    history = summary["history"]
    figure = new_figure(12.4, 5.8)
    kept = "fine-tuned network" if summary["kept"] == "fine_tuned" else "probe"
    figure.suptitle(f"Fine-tuning: the {kept} was kept", fontsize=14, fontweight="bold", color=DARK)
    left, right = figure.subplots(1, 2)
    for axis in (left, right):
        clear_axis(axis)
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
    return png(figure, dpi=DPI)
