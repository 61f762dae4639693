"""What all plots share: colours, a figure that needs no screen, axes without clutter, PNG bytes.

Colour-blind readers can tell the colours apart (Okabe and Ito).
"""

import io
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import LayoutEngine

BLUE, ORANGE, GREEN, GREY, DARK = "#0072B2", "#D55E00", "#009E73", "#8A8A8A", "#222222"
LIGHT_GREY = "#E6E6E6"


def new_figure(
    width: float, height: float, *, layout: "LayoutEngine | Literal['constrained']" = "constrained"
) -> "Figure":
    """Make an empty figure, in inches, drawn without a screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def clear_axis(axis: "Axes", *, rows: bool = False) -> None:
    """Take the frame away and put a light grid behind; `rows` of a list need no left edge."""
    axis.spines[["top", "right", "left"] if rows else ["top", "right"]].set_visible(False)
    axis.grid(axis="x" if rows else "both", color=LIGHT_GREY, linewidth=0.8)
    axis.set_axisbelow(True)


def png(figure: "Figure", *, dpi: int) -> bytes:
    """Draw a figure; equal figures give equal bytes."""
    buffer = io.BytesIO()
    # Without the name of the software that drew it, which changes with every release.
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
