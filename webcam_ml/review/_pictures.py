"""The pictures of frames, at full size and fetched ahead, or why a frame has none to show."""

import threading
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from webcam_ml.dataset.duplicates import PLACEHOLDER
from webcam_ml.dataset.images import (
    ImageCache,
    ImageFetchError,
    ImageReader,
    ImageRecord,
    ImageSettings,
)
from webcam_ml.review._frames import Frame
from webcam_ml.scoring import ImageError

# A person waits: a host that is slow today is left for another day.
SETTINGS = ImageSettings(attempts=1, timeout_seconds=10.0)
NO_IMAGE = "no_image"


@dataclass(frozen=True)
class NoPicture:
    """A frame that cannot be shown.

    Attributes:
        reason: Why, in a word.
    """

    reason: str


class Pictures:
    """Brings pictures into the cache, several at a time; safe to use from several threads.

    Args:
        cache: Where they are kept.
        placeholders: SHA-256 of pictures that show a card instead of what a webcam sees.
    """

    def __init__(self, cache: ImageCache, *, placeholders: Collection[str]) -> None:
        self._cache = cache
        self._placeholders = frozenset(placeholders)
        self._reader = ImageReader(cache, SETTINGS)
        self._pool = ThreadPoolExecutor(SETTINGS.concurrency, thread_name_prefix="pictures")
        self._lock = threading.Lock()
        self._asked: dict[int, Future[ImageRecord | NoPicture]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.stop()
        self._pool.shutdown(cancel_futures=True)
        self._reader.__exit__(kind, fault, trace)

    def fetch(self, frame: Frame) -> Future[ImageRecord | NoPicture]:
        """Begin to bring a picture, unless that was begun before."""
        with self._lock:
            future = self._asked.get(frame.snapshot_id)
            if future is None:
                future = self._asked[frame.snapshot_id] = self._pool.submit(self._bring, frame)
            return future

    def content(self, frame: Frame) -> tuple[bytes, str] | NoPicture:
        """Give the file of a picture and its media type.

        Raises:
            DamagedImageError: The cache has lost it since.
        """
        record = self.fetch(frame).result()
        if isinstance(record, NoPicture):
            return record
        return self._cache.read(record.sha256), f"image/{record.format.lower()}"

    def _bring(self, frame: Frame) -> ImageRecord | NoPicture:
        if frame.image is None:
            return NoPicture(NO_IMAGE)
        try:
            record, _ = self._reader.record(frame.image)
        except (ImageFetchError, ImageError) as failure:
            return NoPicture(failure.reason)
        return NoPicture(PLACEHOLDER) if record.sha256 in self._placeholders else record
