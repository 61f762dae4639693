"""The artifact that says of every snapshot which image it has, or why it has none; how it is made.

Stored files hold what an image is and the category of a failure, never how a run went: which host
was slow, what was cached and the error text of a server are only logged. Equal images give equal
bytes.
"""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import polars as pl

from webcam_ml.contracts import IMAGE_INDEX_TABLE, Document
from webcam_ml.dataset.images._cache import ImageCache, ImageRecord
from webcam_ml.dataset.images._failure import ImageFetchError
from webcam_ml.dataset.images._fetch import require_driver
from webcam_ml.dataset.images._reader import ImageReader
from webcam_ml.dataset.images._settings import FetchSettings, ImageSettings
from webcam_ml.dataset.images._sources import (
    StoredObject,
    parse_source,
    place_of,
    shown,
)
from webcam_ml.errors import WebcamMLError
from webcam_ml.progress import track
from webcam_ml.scoring import ImageError

logger = logging.getLogger(__name__)

_INDEX_FILE = "image_index.csv"
_META = Document("image_index_meta.json", made_by="image_index")
_EXAMPLES = 2
_PLACES_SHOWN = 10
_HINTS = {
    "forbidden_address": "allow_private_addresses permits hosts of your own network",
    "timeout": "timeout_seconds gives each attempt more time",
    "too_many_bytes": "max_bytes permits larger files",
    "too_many_pixels": "max_pixels permits larger pictures",
}


@dataclass(frozen=True, eq=False)
class ImageIndex:
    """Which image each snapshot has.

    Attributes:
        frame: One row a snapshot, ordered by snapshot_id: snapshot_id, source (path or URL),
            status (``ok``, ``failed``, or ``left_out`` where the picture is there and shows nothing
            of the webcam), error (category of the failure, or why it is left out; else null), and of
            all but the failed rows sha256 (the name in the `ImageCache`), bytes, width and height in
            pixels after orientation, format.
        max_failed_fraction: The share of failures that the run was allowed, of snapshots.
    """

    frame: pl.DataFrame
    max_failed_fraction: float

    def usable(self) -> pl.DataFrame:
        """Return the rows whose image is there: what training and evaluation work on."""
        return self.frame.filter(pl.col("status") == "ok")

    def without(self, snapshots: pl.Series, *, reason: str) -> Self:
        """Leave out some rows.

        Args:
            snapshots: Their snapshot_id.
            reason: Why, in a word.
        """
        left_out = pl.col("snapshot_id").is_in(snapshots.implode())
        return replace(
            self,
            frame=self.frame.with_columns(
                status=pl.when(left_out).then(pl.lit("left_out")).otherwise("status"),
                error=pl.when(left_out).then(pl.lit(reason)).otherwise("error"),
            ),
        )

    def left_out(self) -> pl.DataFrame:
        """Return the rows whose picture is there and is left out."""
        return self.frame.filter(pl.col("status") == "left_out")

    def failed(self) -> pl.DataFrame:
        """Return the rows whose picture could not be had."""
        return self.frame.filter(pl.col("status") == "failed")

    @property
    def of_snapshots(self) -> Self:
        """The same without pictures from elsewhere, whose addresses nobody keeps alive."""
        return replace(self, frame=self.frame.filter(pl.col("snapshot_id") >= 0))

    @property
    def failed_elsewhere(self) -> int:
        """How many pictures from elsewhere could not be had."""
        return self.failed().filter(pl.col("snapshot_id") < 0).height

    @property
    def failed_fraction(self) -> float:
        """Share of snapshots without a usable image; pictures from elsewhere do not count."""
        snapshots = self.of_snapshots
        return snapshots.failed().height / max(snapshots.frame.height, 1)

    def failures_by_reason(self) -> dict[str, int]:
        """Return how many snapshots failed for which reason, the most frequent first."""
        return _ranked(self.failed()["error"].to_list())

    def failures_by_host(self) -> dict[str, int]:
        """Return how many snapshots failed at which host, bucket or folder, the worst first."""
        return _ranked(place_of(source) for source in self.failed()["source"].to_list())

    def save(self, folder: Path) -> None:
        """Write ``image_index.csv`` and ``image_index_meta.json``."""
        IMAGE_INDEX_TABLE.write(self.frame, folder / _INDEX_FILE)
        usable, left_out = self.usable(), self.left_out().height
        meta = {
            "counts": {
                "snapshots": self.frame.height,
                "ok": usable.height,
                "failed": self.failed().height,
                **({"failed_elsewhere": elsewhere} if (elsewhere := self.failed_elsewhere) else {}),
                **({"left_out": left_out} if left_out else {}),
                "sources": self.frame["source"].n_unique(),
                "images": usable["sha256"].n_unique(),
            },
            "max_failed_fraction": self.max_failed_fraction,
            "failures_by_reason": self.failures_by_reason(),
            "failures_by_host": self.failures_by_host(),
        }
        _META.write(folder, meta)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, in this version or an earlier one.

        Raises:
            TableError: The file is missing, or lacks a column that is needed.
            DocumentError: image_index_meta.json cannot be read.
        """
        frame = IMAGE_INDEX_TABLE.read(folder / _INDEX_FILE)
        return _META.read_as(
            folder, lambda meta: cls(frame, max_failed_fraction=float(meta["max_failed_fraction"]))
        )


def build_image_index(
    sources: pl.DataFrame, *, cache: ImageCache, settings: ImageSettings
) -> ImageIndex:
    """Fetch and verify the image of every snapshot; what an earlier run fetched is only checked.

    A source that several snapshots share is fetched once. Images that arrived stay in the cache
    also when this raises or is killed; what failed is tried again by the next run.

    Args:
        sources: At least snapshot_id (int64) and image_path_or_url (string, not null); one row a
            snapshot.
        cache: Where images are kept.
        settings: Limits and manners of fetching.

    Raises:
        WebcamMLError: More than `max_failed_fraction` of the snapshots, or all, have no usable
            image (pictures from elsewhere, with ids below 0, stop no run); a driver for a scheme is not
            installed; the cache cannot be written.
    """
    if sources.is_empty():
        raise WebcamMLError("there are no snapshots, so there are no images to index")
    index, outcomes = _index(
        sources, cache=cache, settings=settings, max_failed_fraction=settings.max_failed_fraction
    )
    _require_enough(index, outcomes)
    return index


def index_what_can_be_read(
    sources: pl.DataFrame, *, cache: ImageCache, settings: FetchSettings
) -> ImageIndex:
    """Do as `build_image_index` where a run can do without any of the pictures: none needs to be there.

    Args:
        sources: As there; may have no rows.
        cache: Where images are kept.
        settings: Limits and manners of fetching.

    Raises:
        WebcamMLError: A driver for a scheme is not installed; the cache cannot be written.
    """
    index, outcomes = _index(sources, cache=cache, settings=settings, max_failed_fraction=1.0)
    _warn_of_failures(index, outcomes)
    return index


def _index(
    sources: pl.DataFrame,
    *,
    cache: ImageCache,
    settings: FetchSettings,
    max_failed_fraction: float,
) -> "tuple[ImageIndex, dict[str, _Outcome]]":
    rows = sources.select("snapshot_id", source="image_path_or_url").sort("snapshot_id")
    distinct: list[str] = rows["source"].unique(maintain_order=True).to_list()
    _require_drivers(distinct)
    cache.remove_leftovers()
    outcomes = _run(distinct, cache=cache, settings=settings)
    index = ImageIndex(
        frame=rows.join(_table(outcomes), on="source", how="left", maintain_order="left").select(
            IMAGE_INDEX_TABLE.names
        ),
        max_failed_fraction=max_failed_fraction,
    )
    successes = [outcome for outcome in outcomes.values() if isinstance(outcome, _Success)]
    fetched = sum(success.fetched for success in successes)
    logger.info(
        "images: %d of %d snapshots have one; %d fetched, %d from the cache",
        index.usable().height, index.frame.height, fetched, len(successes) - fetched,
    )  # fmt: skip
    cache.share(
        {text: one.record.sha256 for text, one in outcomes.items() if isinstance(one, _Success)}
    )
    return index, outcomes


@dataclass(frozen=True)
class _Success:
    record: ImageRecord
    fetched: bool


@dataclass(frozen=True)
class _Failure:
    reason: str
    detail: str


_Outcome = _Success | _Failure


def _run(distinct: list[str], *, cache: ImageCache, settings: FetchSettings) -> dict[str, _Outcome]:
    outcomes: dict[str, _Outcome] = {}
    with (
        ImageReader(cache, settings) as reader,
        ThreadPoolExecutor(settings.concurrency, thread_name_prefix="images") as pool,
    ):
        futures: dict[Future[_Outcome], str] = {}
        try:
            for text in _in_digest_order(distinct):
                futures[pool.submit(_outcome, reader, text)] = text
            for future in track(
                as_completed(futures), total=len(futures), what="images", unit="images"
            ):
                outcomes[futures[future]] = future.result()
        finally:
            # Nothing is left here unless something went wrong or someone pressed Ctrl-C.
            reader.stop()
            pool.shutdown(wait=False, cancel_futures=True)
    return outcomes


def _outcome(reader: ImageReader, text: str) -> _Outcome:
    try:
        record, fetched = reader.record(text)
    except (ImageFetchError, ImageError) as failure:
        return _Failure(failure.reason, failure.detail)
    return _Success(record, fetched=fetched)


def _in_digest_order(distinct: list[str]) -> list[str]:
    """Order sources by digest, so that neighbours are rarely of one camera.

    One dead camera's frames in a row would look like a dead host (see `Fetcher`), and several hosts
    are better asked side by side than one after the other.
    """
    return sorted(distinct, key=lambda text: hashlib.sha256(text.encode()).digest())


def _require_drivers(distinct: list[str]) -> None:
    """Refuse before the first download what would fail for every image of a kind."""
    schemes: set[str] = set()
    for text in distinct:
        try:
            source = parse_source(text)
        except ImageFetchError:
            continue  # a failure of this one image, counted with the others
        if isinstance(source, StoredObject):
            schemes.add(source.scheme)
    for scheme in sorted(schemes):
        with suppress(ImageFetchError):  # an unknown scheme is counted image by image too
            require_driver(scheme)


def _table(outcomes: Mapping[str, _Outcome]) -> pl.DataFrame:
    rows: list[dict[str, str | int]] = []
    for source, outcome in outcomes.items():
        match outcome:
            case _Success(record):
                rows.append(
                    {
                        "source": source,
                        "status": "ok",
                        "sha256": record.sha256,
                        "bytes": record.bytes,
                        "width": record.width,
                        "height": record.height,
                        "format": record.format,
                    }
                )
            case _Failure(reason):
                rows.append({"source": source, "status": "failed", "error": reason})
    columns = [name for name in IMAGE_INDEX_TABLE.names if name != "snapshot_id"]
    return pl.from_dicts(rows, schema=IMAGE_INDEX_TABLE.schema_of(columns))


def _require_enough(index: ImageIndex, outcomes: Mapping[str, _Outcome]) -> None:
    """Refuse an index in which too much is missing."""
    snapshots = index.of_snapshots
    total, failed = snapshots.frame.height, snapshots.failed().height
    if failed < total and index.failed_fraction <= index.max_failed_fraction:
        _warn_of_failures(index, outcomes)
        return
    found = (
        f"none of the {total:,} images can be used"
        if failed == total
        else f"{failed:,} of {total:,} images ({index.failed_fraction:.1%}) cannot be used, and "
        f"max_failed_fraction {index.max_failed_fraction:g} allows fewer"
    )
    if index.failed_elsewhere:
        found += (
            f". Nor can {index.failed_elsewhere:,} of {index.frame.height - total:,} pictures from "
            "elsewhere, which do not count here"
        )
    raise WebcamMLError(
        f"{found}. {_describe_failures(index, outcomes)} What arrived stays in the cache; what failed "
        "is tried again by the next run. Mend the sources or the way to them"
        + ("." if failed == total else ", or raise max_failed_fraction.")
    )


def _warn_of_failures(index: ImageIndex, outcomes: Mapping[str, _Outcome]) -> None:
    total, failed = index.frame.height, index.failed().height
    if failed:
        story = _describe_failures(index, outcomes)
        elsewhere = index.failed_elsewhere
        of_them = f", {elsewhere} of them pictures from elsewhere" if elsewhere else ""
        logger.warning("%d of %d images are left out%s. %s", failed, total, of_them, story)


def _describe_failures(index: ImageIndex, outcomes: Mapping[str, _Outcome]) -> str:
    """Say which reasons with examples, which hosts, and which settings have to do with it."""
    examples: dict[str, list[str]] = {}
    for source, outcome in outcomes.items():
        if isinstance(outcome, _Failure):
            examples.setdefault(outcome.reason, []).append(f"{shown(source)}: {outcome.detail}")
    reasons = [
        f"{count:,} × {reason} ({'; '.join(sorted(examples[reason])[:_EXAMPLES])})"
        for reason, count in index.failures_by_reason().items()
    ]
    hosts = [f"{host} {count:,}" for host, count in index.failures_by_host().items()]
    if len(hosts) > _PLACES_SHOWN:
        hosts[_PLACES_SHOWN:] = [f"{len(hosts) - _PLACES_SHOWN} more"]
    parts = [f"Reasons: {', '.join(reasons)}.", f"Where: {', '.join(hosts)}."]
    hints = [hint for reason, hint in _HINTS.items() if reason in examples]
    if "unreachable" in examples and _names_a_proxy():
        hints.append("a proxy is set in the environment, and it is not used for images")
    if hints:
        parts.append(f"Settings: {'; '.join(hints)}.")
    return " ".join(parts)


def _names_a_proxy() -> bool:
    return any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in os.environ)


def _ranked(values: Iterable[str]) -> dict[str, int]:
    """Count, the most frequent first, by name where counts are equal."""
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))
