"""Why bytes did not arrive: the categories that are counted, and the error that carries one.

Faults in bytes that did arrive are reported by `webcam_ml.scoring.ImageError`, whose `reason` is of
the same kind; an index holds either.
"""

from typing import Literal

from webcam_ml.errors import WebcamMLError

Reason = Literal[
    "not_found",  # HTTP 404 or 410, no such file or object
    "access_denied",  # HTTP 401 or 403, no permission
    "http_error",  # any other HTTP status that is not a success and not temporary
    "server_error",  # HTTP 5xx
    "too_many_requests",  # HTTP 429
    "timeout",
    "unreachable",  # the name does not resolve, nobody listens, the connection breaks
    "tls_error",  # the certificate is not valid
    "incomplete_download",  # the connection ended before the body did
    "bad_redirect",  # too many, to nowhere, or to another scheme than http(s)
    "forbidden_address",  # not a public address (see `FetchSettings.allow_private_addresses`)
    "outside_local_root",  # a local file elsewhere than `FetchSettings.local_root`
    "quota_exceeded",  # HTTP 402
    "too_many_bytes",
    "video_stream",  # an answer without end: a camera's live stream
    "unsupported_encoding",  # compressed, although not asked for, in a way that is not supported
    "unsupported_source",  # neither a path nor a URL that can be understood
    "not_a_file",  # a folder, a device, a pipe
    "storage_error",  # the disk or the driver of a storage system failed
]


class ImageFetchError(WebcamMLError):
    """One image whose bytes cannot be had.

    Attributes:
        reason: The category, for counting (see `Reason`).
        detail: The sentence for the person who looks at this one image.
        temporary: Whether the same request may succeed a moment later.
        retry_after: How many seconds the server asked to wait, if it did.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        temporary: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason, detail)
        self.reason: Reason = reason
        self.detail = detail
        self.temporary = temporary
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.detail
