"""Where bytes last: a folder or an object store, by operations that need no lock from the caller.

A key is a relative path with `/` between its parts, none of which begins with a dot. Whoever lost the
answer to a write may repeat it: a condition that fails because the key has these very bytes holds.
So bytes that only one of several writers may bring in must name their writer.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import NamedTuple, Protocol

from webcam_ml.errors import WebcamMLError
from webcam_ml.printable import printable

STORE_VARIABLE = "WEBCAM_ML_ARTIFACTS"
SCHEMES = ("s3", "gs", "az")
# Pictures by content, beside the assets: many small files.
PICTURES = "images"
# Numbers that were made of pictures, in shards by content.
ROWS = "rows"
# What belongs to no version.
BESIDE_ASSETS = frozenset({PICTURES, ROWS})


class Found(NamedTuple):
    """What a key has, and a tag that changes with it."""

    data: bytes
    tag: str


class Bucket(Protocol):
    """Bytes by key. Every operation raises WebcamMLError where the place cannot be used."""

    @property
    def address(self) -> str:
        """The place, as a user names it."""
        ...

    def require_conditions(self) -> None:
        """Refuse a place that cannot be written or does not keep the conditions of a write."""

    def get(self, key: str) -> Found | None:
        """Read a key; None if there is none."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write a key that is not there; false if it has other bytes, which stay."""
        ...

    def swap(self, key: str, data: bytes, tag: str) -> bool:
        """Replace what had this tag when it was read; false if that is other bytes by now."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write a key whatever it has; only for keys that can have no other bytes."""

    def keys(self, folder: str = "") -> Iterator[str]:
        """List the keys below a folder, in order."""
        ...

    def folders(self) -> list[str]:
        """Name the folders that keys begin with, in order."""
        ...

    def delete(self, key: str) -> None:
        """Remove a key; one that is not there is no error."""


def advance(bucket: Bucket, key: str, data: bytes, replaces: Callable[[bytes], bool]) -> None:
    """Write a key that moves forward, unless it is further already; again, if another was faster.

    Args:
        bucket: Where.
        key: The key.
        data: Its new bytes.
        replaces: Whether they come after other bytes that are there.
    """
    while True:
        there = bucket.get(key)
        if there is None:
            if bucket.create(key, data):
                return
        elif there.data == data or not replaces(there.data) or bucket.swap(key, data, there.tag):
            return


def is_plain_name(name: str) -> bool:
    """Whether a name that somebody else wrote may be joined to a folder, and printed."""
    return name.isprintable() and not name.startswith(".") and name == PurePath(name).name != ""


def require_plain_address(address: str) -> None:
    """Refuse an address that a client would read as another place, or that has credentials.

    Raises:
        WebcamMLError: It has a user or a port before its first slash, and is not repeated (a key with a
            slash in it hides its `@`, but not its colon); or a part of it is no plain name.
    """
    scheme, is_url, rest = address.partition("://")
    if is_url and set("@:") & set(rest.partition("/")[0]):
        raise WebcamMLError(
            "the address of the store has `@` or `:` where only the name of a bucket belongs, and is "
            "not repeated here: addresses are printed. Write s3://BUCKET/PREFIX, and let "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL name keys and server"
        )
    if not is_url and address.partition(":")[0].lower() in SCHEMES and ":" in address:
        raise _names_no_store(address, "two slashes belong after its colon")
    for part in rest.rstrip("/").split("/") if is_url and scheme in SCHEMES else ():
        if part.strip(".") == "" or not part.isprintable() or set("?#%\\") & set(part):
            raise _names_no_store(address, f"{part!r} is no plain name of a bucket or folder")


def _names_no_store(address: str, why: str) -> WebcamMLError:
    return WebcamMLError(
        f"{printable(address)} names no store ({why}): write a folder, or s3://BUCKET/PREFIX "
        f"({', '.join(SCHEMES)} are known), where {STORE_VARIABLE} or the command names it"
    )


def open_bucket(address: str) -> Bucket:
    """Give what an address names.

    Args:
        address: A folder, or `s3://bucket/prefix` (`gs://…`, `az://…`).

    Raises:
        WebcamMLError: It is neither, or names credentials; or the extra `s3` is not installed.
    """
    require_plain_address(address)
    if "://" not in address:
        from webcam_ml.store._folder_bucket import FolderBucket

        return FolderBucket(Path(address).absolute())
    scheme = address.partition("://")[0]
    if scheme not in SCHEMES:
        raise _names_no_store(address, f"{scheme}:// is unknown")
    from webcam_ml.store._object_bucket import ObjectBucket

    return ObjectBucket(address)


def bucket_from_env() -> Bucket:
    """Give the place of the project's store: what WEBCAM_ML_ARTIFACTS names, else `artifacts`."""
    return open_bucket(os.environ.get(STORE_VARIABLE) or "artifacts")
