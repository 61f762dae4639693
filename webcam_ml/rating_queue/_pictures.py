"""Which frames have a picture worth showing: looked at, and kept apart from those that are not.

Not shown are pictures that cannot be read, placeholders ("camera offline" cards), and what was rated
under another snapshot already: the same file, or the same picture under another webcam.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from webcam_ml.dataset.duplicates import (
    PLACEHOLDER,
    fingerprints,
    match_pictures,
    placeholder_files,
)
from webcam_ml.dataset.images import FetchSettings, ImageCache, index_what_can_be_read
from webcam_ml.labels import LabelDatabase, read_image_sources

logger = logging.getLogger(__name__)

UNREADABLE = "unreadable"
GONE = "gone"
SEEN = "same_as_rated"
TWICE = "same_as_another"

FRAME = ("snapshot_id", "webcam_id", "captured_at")


class Pictures:
    """Fetches pictures, and remembers of each frame whether it may be shown, and why not.

    Args:
        database: Says where pictures are.
        images: Where pictures are kept; what is there is not fetched again.
        cache: Root of the caches.
        settings: Limits and manners of fetching.
        placeholders: SHA-256 of known placeholders.
    """

    def __init__(
        self,
        *,
        database: LabelDatabase,
        images: ImageCache,
        cache: Path,
        settings: FetchSettings,
        placeholders: pl.Series,
    ) -> None:
        self._database = database
        self._images = images
        self._cache = cache
        self._settings = settings
        self._placeholders = placeholders
        empty = pl.DataFrame(
            schema={"snapshot_id": pl.Int64, "webcam_id": pl.Int64, "captured_at": pl.String}
        ).with_columns(sha256=pl.lit(None, pl.String))
        self._rated = empty
        self._unrated = empty
        self._failures: dict[int, str] = {}
        self._gone: set[int] = set()
        self._alike: dict[int, str] = {}

    def know_rated(self, pictures: pl.DataFrame) -> None:
        """Take pictures of rated frames: what shows the same is not shown.

        Args:
            pictures: `snapshot_id`, `webcam_id`, `captured_at`, `sha256`.
        """
        self._rated = pl.concat([self._rated, pictures.select(*FRAME, "sha256")])

    def fetch_rated(self, frames: pl.DataFrame) -> None:
        """Fetch pictures of rated frames; those that cannot be read are not compared with.

        Args:
            frames: `snapshot_id`, `webcam_id`, `captured_at`.
        """
        sources = read_image_sources(self._database, frames["snapshot_id"].to_list())
        index = index_what_can_be_read(sources, cache=self._images, settings=self._settings)
        self.know_rated(
            frames.join(index.usable().select("snapshot_id", "sha256"), on="snapshot_id")
        )

    def fetch(self, frames: pl.DataFrame) -> None:
        """Fetch pictures of frames to choose from, and tell by their files which may be shown.

        Args:
            frames: `snapshot_id`, `webcam_id`, `captured_at`; what was fetched before costs nothing.
        """
        known = {*self._unrated["snapshot_id"], *self._failures, *self._gone}
        new = frames.filter(~pl.col("snapshot_id").is_in(known))
        sources = read_image_sources(self._database, new["snapshot_id"].to_list())
        index = index_what_can_be_read(sources, cache=self._images, settings=self._settings)
        failed = index.failed()
        self._failures |= dict(zip(failed["snapshot_id"], failed["error"], strict=True))
        self._gone |= {*new["snapshot_id"]} - {*sources["snapshot_id"]}
        found = new.select(FRAME).join(
            index.usable().select("snapshot_id", "sha256"), on="snapshot_id"
        )
        self._unrated = pl.concat([self._unrated, found])
        everything = pl.concat([self._rated, self._unrated])
        self._placeholders = pl.concat([self._placeholders, placeholder_files(everything)]).unique()

    def compare(self, chosen: pl.DataFrame) -> None:
        """Look whether fetched pictures show what was rated, what another one shows, or a placeholder.

        Args:
            chosen: `snapshot_id` of frames that were fetched, in their order: of two that show the same,
                the first may be shown.
        """
        place = {snapshot: place for place, snapshot in enumerate(self.showable(chosen))}
        if not place:
            return
        picked = self._unrated.filter(pl.col("snapshot_id").is_in(list(place)))
        both = pl.concat([self._rated, picked])
        files = both["sha256"].unique().sort().to_list()
        hashes, textures = fingerprints(files, images=self._images, cache=self._cache)
        matches = match_pictures(both, hashes, textures)
        self._placeholders = pl.concat(
            [self._placeholders, matches.placeholders["sha256"]]
        ).unique()
        for one, other in matches.pairs.select("snapshot_a", "snapshot_b").iter_rows():
            for mine, its in ((one, other), (other, one)):
                if mine in place and its not in place:
                    self._alike[mine] = SEEN
                elif mine in place and place[its] < place[mine]:
                    self._alike.setdefault(mine, TWICE)

    def refused(self) -> dict[int, str]:
        """Say which fetched frames may not be shown, and why."""
        shows = self._unrated.with_columns(
            why=pl.when(pl.col("sha256").is_in(self._placeholders.implode()))
            .then(pl.lit(PLACEHOLDER))
            .when(pl.col("sha256").is_in(self._rated["sha256"].implode()))
            .then(pl.lit(SEEN))
        ).filter(pl.col("why").is_not_null())
        return {
            **self._alike,
            **dict(shows.select("snapshot_id", "why").iter_rows()),
            **dict.fromkeys(self._failures, UNREADABLE),
            **dict.fromkeys(self._gone, GONE),
        }

    def showable(self, frames: pl.DataFrame) -> dict[int, str]:
        """Give the digest of each picture that was fetched and may be shown, in the order of the frames."""
        digests = dict(self._unrated.select("snapshot_id", "sha256").iter_rows())
        refused = self.refused()
        return {
            snapshot: digests[snapshot]
            for snapshot in frames["snapshot_id"]
            if snapshot in digests and snapshot not in refused
        }

    def counts(self) -> Mapping[str, int]:
        """Count the frames that were fetched and are not shown, by reason."""
        found = Counter(self.refused().values())
        return {reason: found[reason] for reason in (UNREADABLE, PLACEHOLDER, SEEN, TWICE, GONE)}

    def failures(self) -> Mapping[str, int]:
        """Count why pictures could not be read, the most frequent reason first."""
        found = Counter(self._failures.values())
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
