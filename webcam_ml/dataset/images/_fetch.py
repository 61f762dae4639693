"""From a source to its bytes: which reader, when to try again, when to give up on a host.

Each reader (local file, http, fsspec) knows one kind of source and fails with `ImageFetchError`.
Here is what they share: attempts with growing pauses, a `Retry-After` that is honoured as long as
it is moderate, and the rule that a host which fails for everyone is not asked 5,000 times.
"""

import os
import random
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from webcam_ml.dataset.images._failure import ImageFetchError
from webcam_ml.dataset.images._settings import FetchSettings
from webcam_ml.dataset.images._sources import (
    LocalFile,
    StoredObject,
    parse_source,
    place_of,
    scheme_of,
)
from webcam_ml.errors import WebcamMLError
from webcam_ml.scoring import NotARegularFileError, open_regular_file

if TYPE_CHECKING:
    from webcam_ml.dataset.images._http import HttpClient

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_RETRY_AFTER_SECONDS = 30.0
# This many images of one place in a row, each after all its attempts. Sources come in no order (see
# `build_image_index`): where half of a host's images fail, eight in a row are one case in 256.
_FAILURES_BEFORE_GIVING_UP = 8

# The host refuses whatever the picture is: after eight refusals a ninth request is not worth it.
_REFUSALS = frozenset({"access_denied", "quota_exceeded"})

# fsspec drivers that connect by themselves to the host in the URL: its address is not checked.
_DRIVERS_TO_ANY_HOST = frozenset(
    {"arrow_hdfs", "dask", "ftp", "hdfs", "jlab", "jupyter", "root", "sftp", "smb", "ssh"}
    | {"webdav", "webhdfs"}
)


def fetch_bytes(source: str | Path, settings: FetchSettings) -> bytes:
    """Return the bytes of one image: a local path, ``file://``, http(s), or any fsspec URL.

    Raises:
        ImageFetchError: The bytes cannot be had; `reason` says which kind of failure.
        WebcamMLError: The fsspec driver for the URL is not installed.
    """
    with Fetcher(settings) as fetcher:
        return fetcher.fetch(str(source))


@dataclass(frozen=True)
class FileStamp:
    """The state of a local file: one that is being written has another a moment later."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileStamp":
        """Take the state from what the operating system says."""
        return cls(size=status.st_size, mtime_ns=status.st_mtime_ns)


class Fetcher:
    """Fetches sources for one run; safe to use from several threads, to be closed afterwards."""

    def __init__(self, settings: FetchSettings) -> None:
        self._settings = settings
        self._reachability = _Reachability()
        self._stopped = threading.Event()
        self._http: HttpClient | None = None
        self._http_lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._http is not None:
            self._http.close()

    def stop(self) -> None:
        """Let pending fetches end at their next failure instead of pausing and trying again."""
        self._stopped.set()

    def fetch(self, text: str) -> bytes:
        """Return what a source holds, after as many attempts as the settings allow.

        Raises:
            ImageFetchError: The last attempt's failure.
            WebcamMLError: The fsspec driver for the URL is not installed.
        """
        place = place_of(text)
        for attempt in range(1, self._settings.attempts + 1):
            self._reachability.refuse_if_given_up(place)
            try:
                fetched = self._fetch_once(text)
            except ImageFetchError as failure:
                if not failure.temporary:
                    if failure.reason in _REFUSALS and _is_web(text):
                        self._reachability.failed(place, failure)
                    else:
                        self._reachability.answered(place)
                    raise
                pause = _pause_after(attempt, failure)
                if attempt == self._settings.attempts or pause is None:
                    self._reachability.failed(place, failure)
                    raise
                if self._stopped.wait(pause):
                    raise
            else:
                self._reachability.answered(place)
                return fetched
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _fetch_once(self, text: str) -> bytes:
        source = parse_source(text)
        if isinstance(source, LocalFile):
            return _read_file(source.path, self._settings)
        if isinstance(source, StoredObject):
            return _read_object(source, self._settings)
        return self._http_client().get(
            source.url,
            max_bytes=self._settings.max_bytes,
            timeout_seconds=self._settings.timeout_seconds,
        )

    def _http_client(self) -> "HttpClient":
        from webcam_ml.dataset.images._http import HttpClient, is_public

        with self._http_lock:
            if self._http is None:
                anywhere = self._settings.allow_private_addresses
                self._http = HttpClient(
                    permitted=(lambda _: True) if anywhere else is_public,
                    max_connections=self._settings.concurrency,
                )
            return self._http


def require_driver(scheme: str) -> None:
    """Make sure that the fsspec driver for a scheme is there.

    Raises:
        WebcamMLError: It is not installed; the message says what to install.
        ImageFetchError: fsspec does not know the scheme.
    """
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as fault:
        raise WebcamMLError(
            f"{scheme}:// images need a driver that is not installed: {fault} "
            "(into the environment that runs webcam-ml)"
        ) from fault
    except ValueError as fault:
        raise ImageFetchError(
            "unsupported_source", f"{scheme}:// is no scheme that fsspec knows"
        ) from fault


def _is_web(text: str) -> bool:
    return scheme_of(text) in ("http", "https")


def _pause_after(attempt: int, failure: ImageFetchError) -> float | None:
    """Seconds before the next attempt; None if the server asks for a longer pause than a run makes.

    If the server asks for none, the pause doubles with each attempt, and varies at random so that
    requests which failed together are not repeated together.
    """
    if failure.retry_after is None:
        return random.uniform(0.5, 1.0) * _FIRST_PAUSE_SECONDS * 2.0 ** (attempt - 1)
    return failure.retry_after if failure.retry_after <= _LONGEST_RETRY_AFTER_SECONDS else None


class _Reachability:
    """Which hosts, buckets or folders have answered lately, and which only failed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures_in_a_row: dict[str, int] = {}
        self._given_up: dict[str, ImageFetchError] = {}

    def refuse_if_given_up(self, place: str) -> None:
        """Fail at once, for the same reason as the others, where everything failed before."""
        with self._lock:
            last = self._given_up.get(place)
        if last is not None:
            raise ImageFetchError(
                last.reason,
                f"{last.detail}; so it was with {_FAILURES_BEFORE_GIVING_UP} others there in a row, "
                "and this one was given up",
            )

    def answered(self, place: str) -> None:
        with self._lock:
            self._failures_in_a_row.pop(place, None)
            self._given_up.pop(place, None)

    def failed(self, place: str, failure: ImageFetchError) -> None:
        with self._lock:
            failures = self._failures_in_a_row.get(place, 0) + 1
            self._failures_in_a_row[place] = failures
            if failures >= _FAILURES_BEFORE_GIVING_UP:
                self._given_up[place] = failure


def _read_file(path: Path, settings: FetchSettings) -> bytes:
    try:
        if settings.local_root is not None:
            path = _within(path, Path(settings.local_root))
        file, status = open_regular_file(path)
        with file:
            before = FileStamp.of(status)
            if before.size > settings.max_bytes:
                raise ImageFetchError(
                    "too_many_bytes", f"{before.size:,} bytes; max_bytes is {settings.max_bytes:,}"
                )
            content = file.read(before.size)
            after = FileStamp.of(os.fstat(file.fileno()))
    except NotARegularFileError as fault:
        raise ImageFetchError("not_a_file", str(fault)) from fault
    except (FileNotFoundError, NotADirectoryError) as fault:
        raise ImageFetchError("not_found", "no such file") from fault
    except PermissionError as fault:
        raise ImageFetchError("access_denied", "no permission to read the file") from fault
    except OSError as fault:
        raise ImageFetchError(
            "storage_error", f"the file cannot be read ({fault.strerror})", temporary=True
        ) from fault
    except ValueError as fault:
        raise ImageFetchError("unsupported_source", f"this is not a path ({fault})") from fault
    if before != after or len(content) != before.size:
        raise ImageFetchError("storage_error", "the file changed while it was read", temporary=True)
    return content


def _within(path: Path, root: Path) -> Path:
    """Resolve a path, links included, and refuse one that leads out of a folder."""
    resolved = path.resolve(strict=True)
    if not resolved.is_relative_to(root.resolve()):
        raise ImageFetchError(
            "outside_local_root", "this file is not below the folder that local_root names"
        )
    return resolved


def _read_object(source: StoredObject, settings: FetchSettings) -> bytes:
    from fsspec.core import url_to_fs

    if source.scheme in _DRIVERS_TO_ANY_HOST and not settings.allow_private_addresses:
        raise ImageFetchError(
            "forbidden_address",
            f"a {source.scheme} driver connects to any host, private ones too, and nobody can look "
            "over its shoulder (allow_private_addresses permits it)",
        )
    require_driver(source.scheme)
    try:
        filesystem, path = url_to_fs(source.url)
        content: bytes = filesystem.cat_file(path, end=settings.max_bytes + 1)
    except (FileNotFoundError, NotADirectoryError) as fault:
        raise ImageFetchError("not_found", "no such object") from fault
    except IsADirectoryError as fault:
        raise ImageFetchError("not_a_file", "this is a folder") from fault
    except PermissionError as fault:
        raise ImageFetchError("access_denied", f"no permission ({fault})") from fault
    except TimeoutError as fault:
        raise ImageFetchError("timeout", "no answer in time", temporary=True) from fault
    # Drivers raise whatever the library of their vendor raises: there is no common base.
    except Exception as fault:
        raise ImageFetchError(
            "storage_error", f"{type(fault).__name__}: {fault}", temporary=True
        ) from fault
    if len(content) > settings.max_bytes:
        raise ImageFetchError("too_many_bytes", f"larger than max_bytes {settings.max_bytes:,}")
    return content
