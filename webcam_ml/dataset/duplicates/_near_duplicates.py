"""What image_index keeps beside its pictures: which webcams show the same one, and their splits."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from webcam_ml.contracts import NEAR_DUPLICATES_TABLE, PLACEHOLDERS_TABLE, Document
from webcam_ml.dataset.duplicates._devices import groups_of
from webcam_ml.dataset.duplicates._fingerprint import fingerprints
from webcam_ml.dataset.duplicates._groups import DuplicateWebcams, connected_webcams
from webcam_ml.dataset.duplicates._matches import (
    CORRELATION_AT_LEAST,
    HAMMING_AT_MOST,
    SECONDS_APART_AT_MOST,
    WEBCAMS_AT_MOST,
    Matches,
    match_pictures,
)
from webcam_ml.dataset.images import ImageCache, ImageIndex, ImageSettings, build_image_index
from webcam_ml.errors import WebcamMLError

PAIRS_FILE = "near_duplicates.csv"
PLACEHOLDERS_FILE = "placeholders.csv"
META = Document("near_duplicates_meta.json", made_by="image_index")
PLACEHOLDER = "placeholder"
TRAIN = "train"


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """The same picture under two webcams.

    Attributes:
        pairs: As in `Matches`, with split_a and split_b.
        placeholders: As in `Matches`.
        snapshots: How many were compared.
        without_time: As in `Matches`.
    """

    pairs: pl.DataFrame
    placeholders: pl.DataFrame
    snapshots: int
    without_time: int

    def webcam_pairs(self) -> pl.DataFrame:
        """Sum up by pairs of webcams: how many pairs of pictures, and the surest of them.

        Returns:
            webcam_a, webcam_b, split_a, split_b, pictures (number of pairs), and of the surest pair
            snapshot_a, snapshot_b, sha256_a, sha256_b and correlation; most pictures first.
        """
        surest = self.pairs.sort("correlation", descending=True, maintain_order=True)
        keys = ["webcam_a", "webcam_b", "split_a", "split_b"]
        return (
            surest.group_by(keys, maintain_order=True)
            .agg(pl.len().alias("pictures"), pl.all().first())
            .sort(["pictures", "webcam_a", "webcam_b"], descending=[True, False, False])
        )

    def across_splits(self) -> pl.DataFrame:
        """The rows of `webcam_pairs` whose webcams are in different splits."""
        return self.webcam_pairs().filter(pl.col("split_a") != pl.col("split_b"))

    def save(self, folder: Path) -> None:
        """Write near_duplicates.csv, placeholders.csv and near_duplicates_meta.json."""
        NEAR_DUPLICATES_TABLE.write(self.pairs, folder / PAIRS_FILE)
        PLACEHOLDERS_TABLE.write(self.placeholders, folder / PLACEHOLDERS_FILE)
        meta = {
            "snapshots": self.snapshots,
            "without_time": self.without_time,
            "hamming_at_most": HAMMING_AT_MOST,
            "correlation_at_least": CORRELATION_AT_LEAST,
            "seconds_apart_at_most": SECONDS_APART_AT_MOST,
            "other_webcams_at_most": WEBCAMS_AT_MOST,
        }
        META.write(folder, meta)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, in this version or an earlier one.

        Raises:
            TableError: A column that is needed is missing or of another type.
            WebcamMLError: The image index was made before pictures were compared.
        """
        if not (folder / META.file).exists():
            raise WebcamMLError(
                f"{folder} holds no comparison of its pictures: it was made by an earlier version. "
                "Materialize image_index again; pictures that are there are not fetched again"
            )
        pairs = NEAR_DUPLICATES_TABLE.read(folder / PAIRS_FILE)
        placeholders = PLACEHOLDERS_TABLE.read(folder / PLACEHOLDERS_FILE)
        return META.read_as(
            folder,
            lambda meta: cls(
                pairs=pairs,
                placeholders=placeholders,
                snapshots=meta["snapshots"],
                without_time=meta["without_time"],
            ),
        )


@dataclass(frozen=True, eq=False)
class ComparedImages:
    """An image index and what its pictures have in common; stored together.

    Each is read back alone, by `ImageIndex.load` and `NearDuplicates.load`.
    """

    index: ImageIndex
    near_duplicates: NearDuplicates

    def save(self, folder: Path) -> None:
        """Write the files of both."""
        self.index.save(folder)
        self.near_duplicates.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read both."""
        return cls(ImageIndex.load(folder), NearDuplicates.load(folder))


def compare_images(
    rows: pl.DataFrame,
    index: ImageIndex,
    *,
    images: ImageCache,
    cache: Path,
    keep_placeholders: bool = False,
) -> ComparedImages:
    """Find the same picture under two webcams of a manifest, and leave placeholders out.

    Args:
        rows: Of the manifest: snapshot_id, webcam_id, split, captured_at.
        index: Their pictures.
        images: Where the pictures are.
        cache: Root of the caches; fingerprints are kept there by the digest of the picture.
        keep_placeholders: Whether training snapshots that show a placeholder stay among the usable.
            Those of validation and test never do: a card is an easy negative.
    """
    pictures, matches = _match(rows, index, images=images, cache=cache)
    splits = rows.select("webcam_id", "split").unique()
    pairs = matches.pairs
    for side in ("a", "b"):
        pairs = pairs.join(
            splits.select(
                pl.col("webcam_id").alias(f"webcam_{side}"), pl.col("split").alias(f"split_{side}")
            ),
            on=f"webcam_{side}",
            how="left",
            maintain_order="left",
        )
    cards = index.frame.join(rows.select("snapshot_id", "split"), on="snapshot_id").filter(
        pl.col("sha256").is_in(matches.placeholders["sha256"].implode())
    )
    if keep_placeholders:
        cards = cards.filter(pl.col("split") != TRAIN)
    if not cards.is_empty():
        index = index.without(cards["snapshot_id"], reason=PLACEHOLDER)
    return ComparedImages(
        index,
        NearDuplicates(
            pairs=pairs.select(NEAR_DUPLICATES_TABLE.names),
            placeholders=matches.placeholders,
            snapshots=pictures.height,
            without_time=matches.without_time,
        ),
    )


def find_duplicate_webcams(
    rows: pl.DataFrame,
    *,
    devices: pl.DataFrame | None = None,
    images: ImageCache,
    cache: Path,
    settings: ImageSettings,
) -> DuplicateWebcams:
    """Fetch the pictures of labelled snapshots and say which webcams are one camera.

    Args:
        rows: Of the labels: snapshot_id, webcam_id, captured_at, image_path_or_url.
        devices: `webcam_id` and `device_id` of devices that own several webcams, whatever their
            pictures show; none by default.
        images: Where pictures are kept; what is there is not fetched again.
        cache: Root of the caches.
        settings: Limits and manners of fetching.

    Raises:
        WebcamMLError: As `build_image_index` does.
    """
    index = build_image_index(rows, cache=images, settings=settings)
    pictures, matches = _match(rows, index, images=images, cache=cache)
    of_devices = () if devices is None else groups_of(devices)
    shown = pictures.select("snapshot_id", "sha256").write_csv(line_terminator="\n")
    return DuplicateWebcams(
        groups=connected_webcams(matches.pairs, of_devices),
        pictures_sha256=hashlib.sha256(shown.encode()).hexdigest(),
        compared=pictures.height,
        left_out=rows.height - pictures.height,
        devices=of_devices,
    )


def _match(
    rows: pl.DataFrame, index: ImageIndex, *, images: ImageCache, cache: Path
) -> tuple[pl.DataFrame, Matches]:
    """Match the pictures, and believe no kept fingerprint of what a model is judged on.

    Pictures of validation and test, and all that resemble another one, are fingerprinted from their
    bytes: whoever can write the cache could otherwise leave rows out, keep some in, or marry webcams.
    """
    pictures = (
        rows.select("snapshot_id", "webcam_id", "captured_at")
        .join(index.usable().select("snapshot_id", "sha256"), on="snapshot_id")
        .sort("snapshot_id")
    )
    files = pictures["sha256"].unique().sort().to_list()
    judged = rows.filter(pl.col("split") != TRAIN) if "split" in rows.columns else rows.head(0)
    anew = frozenset(pictures.join(judged, on="snapshot_id", how="semi")["sha256"])
    kept = fingerprints(files, images=images, cache=cache, anew=anew)
    seen = anew
    while True:
        matches = match_pictures(pictures, *kept)
        anew = matches.resembling - seen
        fresh = fingerprints(files, images=images, cache=cache, anew=anew)
        if np.array_equal(kept[0], fresh[0]) and np.array_equal(kept[1], fresh[1]):
            return pictures, matches
        kept, seen = fresh, seen | anew
