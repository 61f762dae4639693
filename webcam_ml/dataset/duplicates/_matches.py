"""The same picture under two webcams: candidates by time and hash, certainty by correlation.

Two stages, because neither can do it alone. A hash is compared in a nanosecond, but one that still
finds a picture with its edges cut off takes a good part of all skies for the same. Correlation of
textures tells them apart at a fraction of a millisecond, for the few pairs that the hash leaves.

Only captures within an hour of each other are candidates: a camera that is in the database
twice is photographed under both ids on the same evenings, and the pairs to look at grow with the
captures per hour, not with the square of all. Equal files match at any time, with one
exception: no camera gives the same file twice, so one that two webcams show more than an hour apart
is a placeholder ("camera offline"), and so is a picture that many webcams show.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import polars as pl

from webcam_ml.contracts import NEAR_DUPLICATES_TABLE, PLACEHOLDERS_TABLE
from webcam_ml.dataset.duplicates._fingerprint import HashArray, TextureArray
from webcam_ml.dataset.duplicates._template import correlation, templates, window_norms
from webcam_ml.progress import track

IndexArray = npt.NDArray[np.int64]

HAMMING_AT_MOST = 18  # of 64 bits
CORRELATION_AT_LEAST = 0.6
SECONDS_APART_AT_MOST = 3600
# A picture that more than this many other webcams show, at any time, is a placeholder.
WEBCAMS_AT_MOST = 3
SCORE_DIGITS = 2

ROWS_AT_ONCE = 256

PAIR_COLUMNS = tuple(name for name in NEAR_DUPLICATES_TABLE.names if not name.startswith("split_"))


@dataclass(frozen=True)
class Matches:
    """Which pictures show the same under two webcams.

    Attributes:
        pairs: One row a pair of pictures, without placeholders, ordered by webcams and snapshots;
            webcam_a is the smaller id. Of equal files, one pair for two webcams.
        placeholders: Pictures that match more than three other webcams, and files that two webcams
            show more than an hour apart: digest, number of webcams that show it or its like, number
            of snapshots with exactly this file, the first of them.
        without_time: Snapshots that have no time of capture: only equal files are found among them.
        resembling: Digests of all pictures whose fingerprints made a match.
    """

    pairs: pl.DataFrame
    placeholders: pl.DataFrame
    without_time: int
    resembling: frozenset[str]


def match_pictures(pictures: pl.DataFrame, hashes: HashArray, textures: TextureArray) -> Matches:
    """Find the same picture under two webcams.

    Args:
        pictures: One row a snapshot: snapshot_id, webcam_id, captured_at (ISO 8601, UTC; may be
            null), sha256 of its file.
        hashes: 64-bit difference hash of each distinct file in the order of their digests,
            uint64 [files].
        textures: Contrast-normalised grey of the same, int8 [files, 64 · 64].
    """
    finder = _Finder(pictures, hashes, textures)
    finder.match_equal_files()
    finder.match_in_time()
    finder.count_webcams_at_any_time()
    return finder.matches()


def placeholder_files(pictures: pl.DataFrame) -> pl.Series:
    """Find the files that are placeholders by who shows them, without looking at any picture.

    Args:
        pictures: As for `match_pictures`; the more there are, the more is found.

    Returns:
        SHA-256 of files that two webcams show more than an hour apart, or more than four at all.
    """
    files = _who_shows(_timed(pictures), "sha256")
    too_many = pl.col("webcams").list.len() > WEBCAMS_AT_MOST + 1
    return files.filter(too_many | pl.col("far_apart"))["sha256"].sort()


def _timed(pictures: pl.DataFrame) -> pl.DataFrame:
    """Give the time of capture in seconds."""
    captured_at = pl.col("captured_at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", strict=False)
    return pictures.with_columns(time=captured_at.dt.epoch("s"))


def _who_shows(pictures: pl.DataFrame, file: str) -> pl.DataFrame:
    """Give the `webcams` of each file, and whether two of them show it more than an hour apart."""
    span = pl.col("time").max() - pl.col("time").min()
    return (
        pictures.group_by(file)
        .agg(webcams=pl.col("webcam_id").unique(), span=span)
        .with_columns(
            far_apart=(pl.col("webcams").list.len() > 1) & (pl.col("span") > SECONDS_APART_AT_MOST)
        )
    )


class _Finder:
    """Collects matches: pictures are rows of the table, matches are pairs of rows."""

    def __init__(self, pictures: pl.DataFrame, hashes: HashArray, textures: TextureArray) -> None:
        # By snapshot, so that the order of the input decides nothing.
        self._pictures = _timed(pictures.sort("snapshot_id")).with_columns(
            file=pl.col("sha256").rank("dense").cast(pl.Int64) - 1
        )
        self._webcam = self._pictures["webcam_id"].to_numpy()
        self._file = self._pictures["file"].to_numpy()
        self._hashes = hashes
        self._textures = textures
        self._norms = np.stack([window_norms(texture) for texture in textures])
        self._scores: dict[tuple[int, int], float] = {}
        self._resembling: set[int] = set()
        files = _who_shows(self._pictures, "file")
        # By file: the webcams that show it or its like.
        self._shown_by = {
            file: set(webcams) for file, webcams in files.select("file", "webcams").iter_rows()
        }
        self._shown_far_apart = set(files.filter("far_apart")["file"])

    def match_equal_files(self) -> None:
        """Note equal files under several webcams, one pair for two webcams."""
        first = self._pictures.with_row_index("row").unique(
            ["file", "webcam_id"], keep="first", maintain_order=True
        )
        shared = (
            first.group_by("file", maintain_order=True)
            .agg("row")
            .filter(pl.col("row").list.len().is_between(2, WEBCAMS_AT_MOST + 1))
        )
        for rows in shared["row"].to_list():
            for one, other in combinations(rows, 2):
                self._note(one, other, 1.0)

    def match_in_time(self) -> None:
        """Compare captures within an hour of each other, except those known to be placeholders."""
        candidates = (
            self._pictures.with_row_index("row")
            .filter(pl.col("time").is_not_null(), ~self._is_placeholder())
            .sort("time", "row")
        )
        rows, time = (candidates[name].to_numpy().astype(np.int64) for name in ("row", "time"))
        starts = range(0, len(rows), ROWS_AT_ONCE)
        for start in track(starts, total=len(starts), what="near-duplicates", unit="blocks"):
            block = slice(start, min(start + ROWS_AT_ONCE, len(rows)))
            low = int(np.searchsorted(time, time[block][0] - SECONDS_APART_AT_MOST, "left"))
            high = int(np.searchsorted(time, time[block][-1] + SECONDS_APART_AT_MOST, "right"))
            near = np.abs(time[block][:, None] - time[None, low:high]) <= SECONDS_APART_AT_MOST
            for row, others in self._candidates(rows[block], rows[low:high], near):
                # The reverse, with this row as the whole, is done when the other row is compared.
                scores = self._correlation(row, others)
                for place in np.flatnonzero(scores >= CORRELATION_AT_LEAST).tolist():
                    self._note(row, int(others[place]), float(scores[place]))
                    self._resembling |= {int(self._file[row]), int(self._file[others[place]])}

    def count_webcams_at_any_time(self) -> None:
        """Look for each matched picture among all, to tell placeholders from a camera's view."""
        matched = {int(self._file[row]): row for pair in sorted(self._scores) for row in pair}
        everything = np.arange(len(self._webcam))
        for file, row in track(
            matched.items(), total=len(matched), what="placeholders", unit="pictures"
        ):
            if len(self._shown_by[file]) > WEBCAMS_AT_MOST + 1:
                continue
            always = np.ones((1, len(everything)), np.bool_)
            for _, others in self._candidates(np.array([row]), everything, always):
                # The likeliest picture of a webcam is enough to say whether that webcam shows it.
                distance = np.bitwise_count(self._hashes[self._file[others]] ^ self._hashes[file])
                ordered = others[np.argsort(distance, kind="stable")]
                _, first = np.unique(self._webcam[ordered], return_index=True)
                likeliest = ordered[np.sort(first)]
                similar = likeliest[self._correlation(row, likeliest) >= CORRELATION_AT_LEAST]
                self._shown_by[file] |= set(self._webcam[similar].tolist())
                if len(similar):
                    self._resembling |= {file, *self._file[similar].tolist()}

    def matches(self) -> Matches:
        """Put the findings into tables."""
        placeholder = self._is_placeholder().to_list()
        ids, digests = (self._pictures[name].to_list() for name in ("snapshot_id", "sha256"))
        pairs = []
        for (one, other), score in self._scores.items():
            if placeholder[one] or placeholder[other]:
                continue
            a, b = sorted((one, other), key=lambda row: (self._webcam[row], row))
            webcams = (int(self._webcam[a]), int(self._webcam[b]))
            pairs.append(
                (*webcams, ids[a], ids[b], digests[a], digests[b], round(score, SCORE_DIGITS))
            )
        shown_by = {file: len(webcams) for file, webcams in self._shown_by.items()}
        return Matches(
            pairs=pl.DataFrame(
                pairs, schema=NEAR_DUPLICATES_TABLE.schema_of(PAIR_COLUMNS), orient="row"
            ).sort("webcam_a", "webcam_b", "snapshot_a", "snapshot_b"),
            placeholders=self._pictures.filter(self._is_placeholder())
            .group_by("sha256")
            .agg(
                pl.col("file").first().replace_strict(shown_by).alias("webcams"),
                pl.len().alias("snapshots"),
                pl.col("snapshot_id").min(),
            )
            .sort("snapshot_id")
            .select(pl.col(name).cast(kind) for name, kind in PLACEHOLDERS_TABLE.schema.items()),
            without_time=self._pictures["time"].null_count(),
            resembling=frozenset(
                self._pictures.filter(pl.col("file").is_in(list(self._resembling)))["sha256"]
            ),
        )

    def _candidates(
        self, rows: IndexArray, others: IndexArray, allowed: npt.NDArray[np.bool_]
    ) -> Iterator[tuple[int, IndexArray]]:
        """Yield rows with those others that another webcam shows and whose hash is near enough."""
        files, other_files = self._file[rows][:, None], self._file[others][None, :]
        distance = np.bitwise_count(self._hashes[files] ^ self._hashes[other_files])
        candidate = allowed & (distance <= HAMMING_AT_MOST) & (files != other_files)
        candidate &= self._webcam[rows][:, None] != self._webcam[others][None, :]
        for place in np.flatnonzero(candidate.any(axis=1)).tolist():
            yield int(rows[place]), others[candidate[place]]

    def _correlation(self, row: int, others: IndexArray) -> npt.NDArray[np.float32]:
        """Correlate a row's picture, as a part, with those of others as wholes."""
        files = self._file[others]
        part = templates(self._textures[self._file[row]])
        return correlation(part, self._textures[files], self._norms[files])

    def _note(self, one: int, other: int, score: float) -> None:
        pair = (min(one, other), max(one, other))
        self._scores[pair] = max(score, self._scores.get(pair, score))
        for row, seen in ((one, other), (other, one)):
            self._shown_by[int(self._file[row])].add(int(self._webcam[seen]))

    def _is_placeholder(self) -> pl.Series:
        """Say of each row whether too many webcams show its picture, or some at times far apart."""
        too_many = self._shown_far_apart | {
            file for file, webcams in self._shown_by.items() if len(webcams) > WEBCAMS_AT_MOST + 1
        }
        return self._pictures["file"].is_in(too_many)
