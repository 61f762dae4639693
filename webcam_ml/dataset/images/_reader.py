"""From one source to its image in the cache: what is there and intact is not fetched again."""

import hashlib
import logging
import threading
from types import TracebackType
from typing import Self

from webcam_ml.dataset.images._cache import DamagedImageError, ImageCache, ImageRecord
from webcam_ml.dataset.images._failure import ImageFetchError
from webcam_ml.dataset.images._fetch import Fetcher
from webcam_ml.dataset.images._settings import FetchSettings
from webcam_ml.dataset.images._sources import LocalFile, parse_source, shown
from webcam_ml.limits import available_cores
from webcam_ml.scoring import DECODER_VERSION, ImageError, decode_image_with_info

logger = logging.getLogger(__name__)


class ImageReader:
    """Brings one image after the other into a cache; safe to use from several threads, to be closed.

    Args:
        cache: Where images are kept.
        settings: Limits and manners of fetching.
    """

    def __init__(self, cache: ImageCache, settings: FetchSettings) -> None:
        self._cache = cache
        self._settings = settings
        self._fetcher = Fetcher(settings)
        # Decoding keeps a core busy, so more at once than cores would only cost memory.
        self._decoders = threading.BoundedSemaphore(available_cores())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._fetcher.__exit__(kind, fault, trace)

    def stop(self) -> None:
        """Let pending fetches end at their next failure instead of pausing and trying again."""
        self._fetcher.stop()

    def record(self, text: str) -> tuple[ImageRecord, bool]:
        """Bring the image of a source into the cache.

        Args:
            text: Path or URL.

        Returns:
            What the source holds, and whether it was fetched for that.

        Raises:
            ImageFetchError: The image cannot be had.
            ImageError: It is no usable image.
            WebcamMLError: The driver for the URL is not installed, or the cache cannot be written.
        """
        source = parse_source(text)
        content, key = None, text
        if isinstance(source, LocalFile):
            # A relative path is the same source only in the same working folder.
            key = str(source.path.absolute())
            # Read, not recalled: else whoever can write notes would choose what is shown.
            content = self._fetcher.fetch(text)
        known = self._known(key, content)
        if known is not None:
            self._require_within_limits(known)
            current = self._of_this_decoder(key, known)
            if current is not None:
                return current, False
        return self._keep(key, self._fetcher.fetch(text) if content is None else content), True

    def _known(self, key: str, content: bytes | None) -> ImageRecord | None:
        """Return what an earlier run found, if the image is intact, and that of `content` if given."""
        record = self._cache.recall(key)
        if record is None:
            return None
        if content is not None and hashlib.sha256(content).hexdigest() != record.sha256:
            return None
        try:
            self._cache.read(record.sha256)
        except DamagedImageError as damage:
            logger.warning("%s is fetched again: %s", shown(key), damage)
            return None
        return record

    def _of_this_decoder(self, key: str, known: ImageRecord) -> ImageRecord | None:
        """Return what is found now in an image that an earlier decoder read; None if it is refused."""
        if known.decoder == DECODER_VERSION:
            return known
        try:
            return self._keep(key, self._cache.read(known.sha256))
        except ImageError as failure:
            # As what failed always is; its host may have mended it.
            logger.warning("%s is fetched again: %s", shown(key), failure)
            return None

    def _keep(self, key: str, content: bytes) -> ImageRecord:
        with self._decoders:
            _, info = decode_image_with_info(content, max_pixels=self._settings.max_pixels)
        record = ImageRecord(
            sha256=self._cache.store(content),
            bytes=len(content),
            width=info.width,
            height=info.height,
            format=info.format,
        )
        self._cache.remember(key, record)
        return record

    def _require_within_limits(self, record: ImageRecord) -> None:
        """Fail as a fresh fetch would: the outcome may not depend on what is cached."""
        if record.bytes > self._settings.max_bytes:
            raise ImageFetchError(
                "too_many_bytes",
                f"{record.bytes:,} bytes; max_bytes is {self._settings.max_bytes:,}",
            )
        if record.width * record.height > self._settings.max_pixels:
            raise ImageError(
                "too_many_pixels",
                f"{record.width}×{record.height}; max_pixels is {self._settings.max_pixels:,}",
            )
