"""Labels that are new, gone or moved between two manifests."""

import polars as pl

from webcam_ml.contracts import PEOPLE, STAR_COLUMNS
from webcam_ml.dataset import Manifest

NEW, GONE, MOVED, CONFIRMED, SAME = "new", "gone", "moved", "confirmed", "same"
WHAT = ("webcam_id", "split", "phase", "captured_at", "webcam_title")
SAID = ("label_value", "rating_count", "label_origin", *STAR_COLUMNS)


def label_changes(before: Manifest, after: Manifest) -> pl.DataFrame:
    """Compare the labels of two manifests that come from one database.

    Args:
        before: All rows of the older one.
        after: All rows of the newer one.

    Returns:
        One row for each snapshot of either: `snapshot_id`, `change` (`new`; `gone`; `moved`: other
        stars, or people's in place of a judge's; `confirmed`: other votes and the same stars; `same`),
        `webcam_id`, `split`, `phase`, `captured_at`, `webcam_title`, and `before` and `after` in
        stars, `raters_before`, `raters_after`, `origin_before`, `origin_after`, null where there is
        no label. The largest moves come first, then the most stars.
    """
    both = _labels(before).join(
        _labels(after), on="snapshot_id", how="full", suffix="_after", coalesce=True
    )
    moved = ((pl.col("label_value") - pl.col("label_value_after")).abs() > 1e-9) | (
        pl.col("label_origin") != pl.col("label_origin_after")
    )
    other_votes = pl.any_horizontal(
        pl.col(name) != pl.col(f"{name}_after") for name in ("rating_count", *STAR_COLUMNS)
    )
    return both.select(
        "snapshot_id",
        change=pl.when(pl.col("label_value").is_null())
        .then(pl.lit(NEW))
        .when(pl.col("label_value_after").is_null())
        .then(pl.lit(GONE))
        .when(moved)
        .then(pl.lit(MOVED))
        .when(other_votes)
        .then(pl.lit(CONFIRMED))
        .otherwise(pl.lit(SAME)),
        **{name: pl.coalesce(f"{name}_after", name) for name in WHAT},
        before="label_value",
        after="label_value_after",
        raters_before="rating_count",
        raters_after="rating_count_after",
        origin_before="label_origin",
        origin_after="label_origin_after",
    ).sort(
        (pl.col("after") - pl.col("before")).abs(),
        pl.coalesce("after", "before"),
        "snapshot_id",
        descending=[True, True, False],
        nulls_last=True,
    )


def of_people(changes: pl.DataFrame) -> pl.DataFrame:
    """Keep the rows on which people say, or said, something."""
    return changes.filter(
        (pl.col("origin_before") == PEOPLE).fill_null(False)
        | (pl.col("origin_after") == PEOPLE).fill_null(False)
    )


def _labels(manifest: Manifest) -> pl.DataFrame:
    return manifest.frame.join(
        manifest.details, on="snapshot_id", how="left", maintain_order="left"
    ).select("snapshot_id", *WHAT, *SAID)
