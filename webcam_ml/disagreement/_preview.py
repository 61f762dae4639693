"""The report in small, for a page that shows it beside other things: a plot and a few pictures."""

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from webcam_ml.disagreement._document import DisagreementDocument, Group, ReportRow
from webcam_ml.disagreement._thumbnails import RgbArray, thumbnail_jpeg
from webcam_ml.errors import WebcamMLError
from webcam_ml.figures import BLUE, DARK, GREY, clear_axis, new_figure, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)

DPI = 100
# Ten of them take 45 kB as text: what shows them keeps them in a database.
SMALL_SIDE = 112
LARGEST_SMALL_BYTES = 3_300


def small_pictures(
    rows: Iterable[ReportRow], *, decode: Callable[[str], RgbArray]
) -> dict[int, bytes]:
    """Encode the pictures of a few rows, small enough to be shown in a table.

    Args:
        rows: Of the report.
        decode: From a sha256 to the picture, [height, width, 3] uint8 RGB. A `WebcamMLError` from
            it leaves the picture out.

    Returns:
        JPEG files by snapshot_id; rows whose picture is gone are not in it.
    """
    pictures = {}
    for row in rows:
        if row.sha256 is None:
            continue
        try:
            pixels = decode(row.sha256)
        except WebcamMLError as error:
            logger.warning("snapshot %d is shown without its picture: %s", row.snapshot_id, error)
            continue
        pictures[row.snapshot_id] = thumbnail_jpeg(
            pixels, side=SMALL_SIDE, max_bytes=LARGEST_SMALL_BYTES
        )
    return pictures


def draw_differences(document: DisagreementDocument) -> bytes:
    """Draw how far model and people are apart, over all compared rows and for each phase.

    Args:
        document: The report.

    Returns:
        PNG.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    summary = document.summary
    groups = [summary.all.model_copy(update={"group": "all pictures"}), *summary.phase]
    figure = new_figure(9.6, 1.9 + 0.55 * len(groups), layout=ConstrainedLayoutEngine(wspace=0.06))
    figure.suptitle(
        f"How far apart are people and model? {document.counts.compared:,} pictures of "
        f"{document.counts.webcams:,} webcams, with 95 % intervals",
        fontsize=11,
        color=DARK,
    )
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_means(left, groups, signed=False)
    _draw_means(right, groups, signed=True)
    left.set_title("how far, in stars", fontsize=10)
    left.set_xlim(left=0)
    left.set_yticks(
        range(len(groups)), [f"{group.group}\n{group.count:,} pictures" for group in groups]
    )
    left.set_ylim(len(groups) - 0.5, -0.5)
    right.set_title("← model lower        in stars        model higher →", fontsize=10)
    right.axvline(0.0, color=GREY, linewidth=1)
    low, high = right.get_xlim()
    reach = max(abs(low), abs(high))
    right.set_xlim(-reach, reach)
    return png(figure, dpi=DPI)


def _draw_means(axis: "Axes", groups: list[Group], *, signed: bool) -> None:
    for row, group in enumerate(groups):
        mean = group.mean_signed_diff if signed else group.mean_abs_diff
        if mean.value is None:
            continue
        colour = DARK if row == 0 else BLUE
        if mean.low is not None and mean.high is not None:
            axis.plot([mean.low, mean.high], [row, row], color=colour, linewidth=2, alpha=0.6)
        axis.plot([mean.value], [row], marker="o", color=colour, markersize=7)
        axis.annotate(
            f"{mean.value:+.2f}" if signed else f"{mean.value:.2f}",
            (mean.value, row), xytext=(0, 7), textcoords="offset points",
            ha="center", fontsize=9, color=colour,
        )  # fmt: skip
    clear_axis(axis, rows=True)
    axis.tick_params(axis="y", length=0)
