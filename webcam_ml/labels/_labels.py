"""The artifact of this package: labelled snapshots, and what did not become one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import polars as pl

from webcam_ml.contracts import (
    DEVICES_TABLE,
    HIGHEST_RATING,
    LABELS_TABLE,
    LOWEST_RATING,
    STAR_COLUMNS,
    Document,
)
from webcam_ml.labels._judgements import Judgements
from webcam_ml.labels._query import LabelQuery

# Why a snapshot has no label; the first that holds counts. Those that no setting can change come
# first, so that the last one counts exactly what a lower min_rating_count would bring back.
DROP_REASONS = ("unrated", "no_webcam", "no_image", "no_label", "too_few_ratings")

LABELS_FILE = "labels.csv"
DEVICES_FILE = "devices.csv"
META = Document("labels_meta.json", made_by="labels_raw")

# The cached average has two decimals: cut off or rounded, it is less than 0.01 from the exact one.
CACHED_TOLERANCE = 0.011


@dataclass(frozen=True)
class LabelCounts:
    """How much the database held.

    Attributes:
        snapshots: All of them.
        rated_snapshots: Those with at least one rating by anybody; a verdict-only vote is none.
        cached_only_snapshots: Those with a cached average but without any rating row.
        rating_counts: Number of ratings that count for the query → rated snapshots with so many,
            in ascending order. 0 appears where only other sessions rated.
        unused_no_votes: Votes N ("no sunset") that the label source does not use; None where the
            database cannot hold any. Told where labels are read, and not stored: what is stored of a
            label source says what it used.
    """

    snapshots: int
    rated_snapshots: int
    cached_only_snapshots: int
    rating_counts: Mapping[int, int]
    unused_no_votes: int | None = None


@dataclass(frozen=True, eq=False)
class Labels:
    """Labelled snapshots, straight from the database.

    Attributes:
        frame: One row per labelled snapshot, ordered by `snapshot_id`, with the columns of
            `LABELS_TABLE`. `label_value` is in stars, `captured_at` ISO 8601 in UTC or null.
            `cached_rating` is the application's average, `fresh_rating` that of all rating rows;
            `stars_1` to `stars_5` count the ratings behind `rating_count`. Label values are as
            the database has them, off the scale too: see `off_scale`.
        query: What was asked.
        drops: Reason → number of snapshots that have no label because of it. The reasons are
            `DROP_REASONS`; each snapshot counts under the first that holds, so that the numbers
            add up to the snapshots without a label.
        counts: How much the database held.
        judged: What each judge said, unmixed; None where the source hears people alone.
        devices: `webcam_id` and `device_id` of devices that own several of these webcams.
    """

    frame: pl.DataFrame
    query: LabelQuery
    drops: Mapping[str, int]
    counts: LabelCounts
    judged: Judgements | None = None
    devices: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=DEVICES_TABLE.schema))

    def snapshots(self) -> pl.DataFrame:
        """Return where every snapshot is and whose: those that only judges know, too."""
        where = ("snapshot_id", "webcam_id", "captured_at", "image_path_or_url")
        known = self.frame.select(where)
        if self.judged is None:
            return known
        return pl.concat([known, self.judged.snapshots.select(where)]).sort("snapshot_id")

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
        """Write `labels.csv` and `labels_meta.json` into an existing folder, and what there is beside.

        That is what judges said, where they are heard, and `devices.csv`, where there are some.
        Equal labels give equal bytes, whichever database they came from.
        """
        LABELS_TABLE.write(self.frame, folder / LABELS_FILE)
        meta = {
            **self.query.to_dict(),
            "counts": {
                "snapshots": self.counts.snapshots,
                "rated_snapshots": self.counts.rated_snapshots,
                "cached_only_snapshots": self.counts.cached_only_snapshots,
                "labelled_snapshots": self.frame.height,
            },
            "drops": dict(self.drops),
            "rating_counts": {str(n): rows for n, rows in self.counts.rating_counts.items()},
        }
        if self.judged is not None:
            self.judged.save(folder)
            meta["judged"] = self.judged.to_dict()
        if not self.devices.is_empty():
            DEVICES_TABLE.write(self.devices, folder / DEVICES_FILE)
        META.write(folder, meta)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, in this version or an earlier one.

        Raises:
            TableError: A column that is needed is missing or of another type.
            DocumentError: labels_meta.json cannot be read.
        """
        frame = LABELS_TABLE.read(folder / LABELS_FILE)
        devices = pl.DataFrame(schema=DEVICES_TABLE.schema)
        if (folder / DEVICES_FILE).exists():
            devices = DEVICES_TABLE.read(folder / DEVICES_FILE)
        return META.read_as(
            folder,
            lambda meta: cls(
                frame=frame,
                devices=devices,
                query=LabelQuery.from_dict(meta),
                drops=meta["drops"],
                counts=_counts(meta),
                judged=Judgements.load(folder, meta["judged"]) if "judged" in meta else None,
            ),
        )


def _counts(meta: Mapping[str, Any]) -> LabelCounts:
    counts = meta["counts"]
    return LabelCounts(
        snapshots=counts["snapshots"],
        rated_snapshots=counts["rated_snapshots"],
        cached_only_snapshots=counts["cached_only_snapshots"],
        rating_counts={int(n): rows for n, rows in meta["rating_counts"].items()},
    )
