"""An object store (S3 and its kin, Google Cloud Storage, Azure) as a bucket, by `obstore`.

Credentials, region and endpoint come from the usual variables of each (`AWS_ACCESS_KEY_ID`,
`AWS_ENDPOINT_URL`, …), which obstore reads.
"""

import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

from webcam_ml.errors import WebcamMLError
from webcam_ml.store._bucket import Found
from webcam_ml.store._long_waits import saying_that_it_waits

if TYPE_CHECKING:
    from obstore import PutMode
    from obstore.store import BackoffConfig, ClientConfig, RetryConfig

RETRIES = 10
# The next wait is drawn between the first and so many times the last one: in all half a minute to two.
WAITS: "BackoffConfig" = {
    "init_backoff": timedelta(milliseconds=200),
    "max_backoff": timedelta(seconds=15),
    "base": 4,
}
TOO_LONG = timedelta(minutes=2)
# A server that says nothing for so long is asked again. What is larger than SMALL may take longer on
# its way: 100 MB on a slow line take minutes.
SILENCE = timedelta(seconds=30)
LONGEST_TRANSFER = timedelta(minutes=15)
SMALL = 1 << 20
PREFIXES = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}
CLIENT_VARIABLES = (
    "allow_http", "allow_invalid_certificates", "connect_timeout", "timeout", "proxy_url",
    "proxy_ca_certificate", "proxy_excludes",
)  # fmt: skip

ENDPOINT = "AWS_ENDPOINT_URL (empty for Amazon)"
KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
CONDITIONS = (
    "it has no conditional writes (If-None-Match, If-Match), without which two writers would "
    "overwrite each other. Amazon S3, MinIO, Ceph from 20 and SeaweedFS have them: upgrade the server, "
    "or take another, or a folder"
)

NO_BUCKET = r"<Code>(NoSuchBucket|ContainerNotFound)|specified bucket does not exist"

# What a server or the client says → what it means and what to try. The first that is found counts.
EXPLANATIONS = {
    r"169\.254\.169\.254|169\.254\.170\.2": (
        f"no credentials are set, and this machine has none of its own. Set {KEYS}"
    ),
    NO_BUCKET: (f"there is no such bucket. Create it, or correct the address or {ENDPOINT}"),
    r"<Code>(InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|ExpiredToken|AuthFailure)": (
        f"the credentials are not accepted. Set {KEYS} (and AWS_SESSION_TOKEN, if they are for a while)"
    ),
    r"<Code>RequestTimeTooSkewed": (
        "the clock of this machine is too far from the server's; here it is NOW. Let it be set by NTP"
    ),
    r"<Code>(AuthorizationHeaderMalformed|PermanentRedirect|IllegalLocationConstraintException)"
    r"|redirect without LOCATION": (
        "the bucket is in another region. Set AWS_REGION to the bucket's own"
    ),
    r"<Code>NotImplemented|501 Not Implemented": CONDITIONS,
    r"<Code>(SlowDown|ServiceUnavailable|InternalError|RequestTimeout)|\b50[0234] |\b429 ": (
        "the server does not answer or asks to slow down, and went on so for a while. Nothing that was "
        "stored before is touched: do the same again later"
    ),
    r"\bAccessDenied\b|\b403 Forbidden": (
        f"the credentials have no right to do that. Let {KEYS} be those of a role that may read, write, "
        "delete and list there (s3:GetObject, PutObject, DeleteObject; ListBucket)"
    ),
    r"BadScheme": (
        "its endpoint has no TLS. Set AWS_ALLOW_HTTP=true if that is meant, or let AWS_ENDPOINT_URL "
        "begin with https://"
    ),
    r"kind: (Connect|Timeout|Request|Interrupted|Unknown)": (
        f"the server cannot be reached, or the connection broke. Look at {ENDPOINT} and the network, and "
        "do the same again: what was stored before is untouched"
    ),
}


class ObjectBucket:
    """A bucket under a prefix of an object store; see the module for where settings come from."""

    def __init__(self, address: str) -> None:
        try:
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ImportError as error:
            raise WebcamMLError(
                f"{address} needs a package that is not installed: pip install 'webcam-ml[s3]'"
            ) from error
        self.address = address.rstrip("/")
        options = _client_options(self.address.partition(":")[0])
        retry: RetryConfig = {
            "max_retries": RETRIES,
            "retry_timeout": TOO_LONG,
            "backoff": WAITS,
        }
        try:
            self._store = from_url(
                self.address,
                client_options={"read_timeout": SILENCE, **options},
                retry_config=retry,
            )
            # While it is sent there is nothing to read.
            self._sending = from_url(self.address, client_options=options, retry_config=retry)
        except (BaseError, ValueError) as error:
            prefix = f"{PREFIXES.get(self.address.partition(':')[0], '')}_"
            set_here = ", ".join(sorted(name for name in os.environ if name.startswith(prefix)))
            raise self._explained(
                error,
                f"it cannot be opened with what the environment sets ({set_here or 'nothing'})",
            ) from error

    def require_conditions(self) -> None:
        """Refuse a server that does not keep the conditions of a write."""
        probe = f"probe-{uuid.uuid4().hex}"
        kept = self.create(probe, b"1")
        try:
            kept = kept and not self.create(probe, b"2")
            found = self.get(probe)
            kept = kept and found is not None and self.swap(probe, b"3", found.tag)
            kept = kept and found is not None and not self.swap(probe, b"4", found.tag)
        finally:
            self.delete(probe)
        if not kept:
            raise WebcamMLError(f"{self.address} cannot be a store: {CONDITIONS}")

    def get(self, key: str) -> Found | None:
        """Read a key; None if there is none."""
        with self._explaining(f"{key} cannot be read"):
            try:
                found = self._store.get(key)
                data = bytes(found.bytes())
            except FileNotFoundError as error:
                self._require_bucket(error, f"{key} cannot be read")
                return None
            tag = {name: found.meta.get(name) for name in ("e_tag", "version")}
            return Found(data, json.dumps({name: one for name, one in tag.items() if one}))

    def create(self, key: str, data: bytes) -> bool:
        """Write a key that is not there; false if it has other bytes, which stay."""
        return self._put(key, data, "create")

    def swap(self, key: str, data: bytes, tag: str) -> bool:
        """Replace what had this tag when it was read; false if that is other bytes by now."""
        return self._put(key, data, json.loads(tag))

    def put(self, key: str, data: bytes) -> None:
        """Write a key whatever it has; only for keys that can have no other bytes."""
        self._put(key, data, "overwrite")

    def keys(self, folder: str = "") -> Iterator[str]:
        """List the keys below a folder, in order; hidden ones, which others wrote, are none."""
        with self._explaining(f"{folder or 'it'} cannot be listed"):
            found = [one["path"] for some in self._store.list(folder or None) for one in some]
        yield from sorted(key for key in found if "/." not in f"/{key}")

    def folders(self) -> list[str]:
        """Name the folders that keys begin with, in order."""
        with self._explaining("it cannot be listed"):
            found = self._store.list_with_delimiter()["common_prefixes"]
        return sorted(name for name in found if not name.startswith("."))

    def delete(self, key: str) -> None:
        """Remove a key; one that is not there is no error."""
        with self._explaining(f"{key} cannot be removed"):
            try:
                self._store.delete(key)
            except FileNotFoundError as error:
                self._require_bucket(error, f"{key} cannot be removed")

    def _put(self, key: str, data: bytes, mode: "PutMode") -> bool:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._explaining(f"{key} cannot be written"):
            try:
                store = self._store if len(data) <= SMALL else self._sending
                store.put(key, data, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                # The client itself repeats a write whose answer was lost, and then meets its own.
                found = self.get(key)
                return found is not None and found.data == data
            except FileNotFoundError as error:
                self._require_bucket(error, f"{key} cannot be written")
                return False
            return True

    def _require_bucket(self, error: Exception, what: str) -> None:
        """A missing bucket is reported like a missing key."""
        if re.search(NO_BUCKET, str(error)):
            raise self._explained(error, what) from error

    @contextmanager
    def _explaining(self, what: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            with saying_that_it_waits(f"{self.address}: {what}"):
                yield
        except (BaseError, OSError) as error:
            raise self._explained(error, what) from error

    def _explained(self, error: Exception, what: str) -> WebcamMLError:
        said = str(error) or type(error).__name__
        found = (text for sign, text in EXPLANATIONS.items() if re.search(sign, said))
        meaning = next(found, said.splitlines()[0])
        # Its word for it; and of a bucket elsewhere the region, or the endpoint that has it.
        answers = re.finditer(r"<Code>(\w+)<|\(code: (\w+)\)|<(?:Region|Endpoint)>([\w.-]+)<", said)
        words = dict.fromkeys(one[one.lastindex or 0] for one in answers)
        return WebcamMLError(
            f"{self.address}: {what}: {meaning.replace('NOW', _now())}"
            + (f" (the server says {', '.join(words)})" if words else "")
        )


def _client_options(scheme: str) -> "ClientConfig":
    """Let a transfer take long. The client reads no such variable by itself once it is told that."""
    prefix = PREFIXES[scheme]
    asked = {name: os.environ.get(f"{prefix}_{name.upper()}") for name in CLIENT_VARIABLES}
    return cast(
        "ClientConfig",
        {"timeout": LONGEST_TRANSFER} | {name: value for name, value in asked.items() if value},
    )


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
