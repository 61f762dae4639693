"""Tables and pictures as Dagster's page shows them, safe whatever text is in them.

Which tables there are for which artifact is said in `presentation`.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dagster import MarkdownMetadataValue, MetadataValue

from webcam_ml.printable import printable

if TYPE_CHECKING:
    import polars as pl

PREVIEW_ROWS = 8
LONGEST_CELL = 100
PNG_SIGNATURE = b"\x89PNG"

# What Markdown may give a meaning to; a backslash before it takes the meaning away.
_MARKUP = re.compile(r"([\\`*_\[\]<>|~&])")


def preview(frame: "pl.DataFrame", columns: tuple[str, ...]) -> MarkdownMetadataValue:
    """Show the first rows."""
    return table(frame.select(columns).head(PREVIEW_ROWS).to_dicts())


def counts_table(counts: Mapping[str, int], what: str) -> MarkdownMetadataValue:
    """Show counts by name."""
    return table([{what: name, "count": count} for name, count in counts.items()])


def table(
    rows: Sequence[Mapping[str, Any]], *, longest_cell: int = LONGEST_CELL
) -> MarkdownMetadataValue:
    """Show rows as a Markdown table.

    Bytes are shown as the picture that they are. Text is shown literally: what comes from the
    database can neither leave its cell nor become markup, nor a picture to load from elsewhere.
    """
    if not rows:
        return MetadataValue.md("none")
    header = list(rows[0])
    lines: list[list[Any]] = [header, ["---"] * len(header)]
    lines += [[row.get(name) for name in header] for row in rows]
    return MetadataValue.md(
        "\n".join(
            "| " + " | ".join(_cell(value, longest_cell) for value in line) + " |" for line in lines
        )
    )


def picture(png: bytes) -> MarkdownMetadataValue:
    """Show a plot."""
    return MetadataValue.md(_image(png))


def _image(data: bytes) -> str:
    kind = "png" if data.startswith(PNG_SIGNATURE) else "jpeg"
    return f"![picture](data:image/{kind};base64,{base64.b64encode(data).decode()})"


def _cell(value: object, longest: int) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return _image(value)
    if isinstance(value, (int, float)):
        return f"{value:g}" if isinstance(value, float) else str(value)
    text = printable(" ".join(str(value).split()))
    if len(text) > longest:
        text = f"{text[:longest]}…"
    return _MARKUP.sub(r"\\\1", text)
