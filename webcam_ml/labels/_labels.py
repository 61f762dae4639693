"""The artifact of this package: labelled snapshots, and what did not become one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import polars as pl

from webcam_ml.contracts import (
    HIGHEST_RATING,
    LOWEST_RATING,
    STAR_COLUMNS,
    for_spreadsheets,
    from_spreadsheets,
)
from webcam_ml.errors import WebcamMLError
from webcam_ml.labels._query import LabelQuery

LABEL_SCHEMA: Mapping[str, type[pl.DataType]] = {
    "snapshot_id": pl.Int64,
    "webcam_id": pl.Int64,
    "label_source": pl.String,
    "label_value": pl.Float64,
    "rating_count": pl.Int64,
    "image_path_or_url": pl.String,
    "phase": pl.String,
    "captured_at": pl.String,
    "cached_rating": pl.Float64,
    "fresh_rating": pl.Float64,
    **dict.fromkeys(STAR_COLUMNS, pl.Int64),
    "webcam_title": pl.String,
    "webcam_source": pl.String,
}

# Why a snapshot has no label, the first that holds. What no setting mends comes first, so that the
# last one counts exactly what a lower min_rating_count would bring back.
DROP_REASONS = ("unrated", "no_webcam", "no_image", "no_label", "too_few_ratings")

LABELS_FILE = "labels.csv"
META_FILE = "labels_meta.json"

# The cached average has two decimals: cut off or rounded, it is less than 0.01 from the exact one.
CACHED_TOLERANCE = 0.011


class LabelsFileError(WebcamMLError):
    """A stored file of labels does not have the shape that this version writes."""


@dataclass(frozen=True)
class LabelCounts:
    """How much the database held.

    Attributes:
        snapshots: All of them.
        rated_snapshots: Those with at least one rating by anybody; a verdict-only vote is none.
        cached_only_snapshots: Those with a cached average but without any rating row.
        rating_counts: Number of ratings that count for the query → rated snapshots with so many,
            in ascending order. 0 appears where only other sessions rated.
    """

    snapshots: int
    rated_snapshots: int
    cached_only_snapshots: int
    rating_counts: Mapping[int, int]


@dataclass(frozen=True, eq=False)
class Labels:
    """Labelled snapshots, straight from the database.

    Attributes:
        frame: One row per labelled snapshot, ordered by `snapshot_id`, with the columns of
            `LABEL_SCHEMA`. `label_value` is in stars, `captured_at` ISO 8601 in UTC or null.
            `cached_rating` is the application's average, `fresh_rating` that of all rating rows;
            `stars_1` to `stars_5` count the ratings behind `rating_count`. Label values are as
            the database has them, off the scale too: see `off_scale`.
        query: What was asked.
        drops: Reason → number of snapshots that have no label because of it. The reasons are
            `DROP_REASONS`; each snapshot counts under the first that holds, so that the numbers
            add up to the snapshots without a label.
        counts: How much the database held.
    """

    frame: pl.DataFrame
    query: LabelQuery
    drops: Mapping[str, int]
    counts: LabelCounts

    def off_scale(self) -> pl.DataFrame:
        """Return the rows whose label, or a rating behind it, is not on the scale of 1 to 5 stars.

        These are kept so that a check can show them. They must never be trained on: a label on
        another scale turns every target to one side.
        """
        return self.frame.filter(
            ~pl.col("label_value").is_between(LOWEST_RATING, HIGHEST_RATING)
            | (pl.sum_horizontal(STAR_COLUMNS) != pl.col("rating_count"))
        )

    def stale_cached(self, tolerance: float = CACHED_TOLERANCE) -> pl.DataFrame:
        """Return the rows whose cached average is further from the fresh one than rounding goes.

        Rows without a cached average are not among them: there is nothing to be stale.

        Args:
            tolerance: Largest difference, in stars, that counts as rounding.
        """
        difference = pl.col("cached_rating") - pl.col("fresh_rating")
        return self.frame.filter(difference.abs() > tolerance)

    def save(self, folder: Path) -> None:
        """Write `labels.csv` and `labels_meta.json` into an existing folder.

        Equal labels give equal bytes, whichever database they came from.
        """
        self.frame.with_columns(for_spreadsheets()).write_csv(folder / LABELS_FILE)
        meta = {
            "label_source": self.query.label_source,
            "min_rating_count": self.query.min_rating_count,
            "curator_sessions": list(self.query.curator_sessions),
            "counts": {
                "snapshots": self.counts.snapshots,
                "rated_snapshots": self.counts.rated_snapshots,
                "cached_only_snapshots": self.counts.cached_only_snapshots,
                "labelled_snapshots": self.frame.height,
            },
            "drops": dict(self.drops),
            "rating_counts": {str(n): rows for n, rows in self.counts.rating_counts.items()},
        }
        text = json.dumps(meta, indent=2, sort_keys=False, allow_nan=False) + "\n"
        (folder / META_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            LabelsFileError: The columns are not those that this version writes.
        """
        frame = scan_stored(folder).collect()
        meta = json.loads((folder / META_FILE).read_text(encoding="utf-8"))
        counts = meta["counts"]
        return cls(
            frame=frame,
            query=LabelQuery(
                label_source=meta["label_source"],
                min_rating_count=meta["min_rating_count"],
                curator_sessions=tuple(meta["curator_sessions"]),
            ),
            drops=meta["drops"],
            counts=LabelCounts(
                snapshots=counts["snapshots"],
                rated_snapshots=counts["rated_snapshots"],
                cached_only_snapshots=counts["cached_only_snapshots"],
                rating_counts={int(n): rows for n, rows in meta["rating_counts"].items()},
            ),
        )


def scan_stored(folder: Path) -> pl.LazyFrame:
    """Look at the rows that `Labels.save` wrote, to read all of their columns or some.

    Raises:
        LabelsFileError: The columns are not those that this version writes.
    """
    path = folder / LABELS_FILE
    header = pl.read_csv(path, n_rows=0).columns
    if header != list(LABEL_SCHEMA):
        raise LabelsFileError(
            f"{path} has the columns {', '.join(header)}; expected are "
            f"{', '.join(LABEL_SCHEMA)}. Materialize labels_raw again."
        )
    return pl.scan_csv(path, schema=LABEL_SCHEMA).with_columns(from_spreadsheets())
