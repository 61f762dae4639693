"""The JSON documents of the store: one way to write them and to read them, with their versions.

Whatever has no `schema_version` is of version 1. What a document holds is defined in the module
that makes it; here is only what all of them have in common.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, TypeVar

from webcam_ml.errors import WebcamMLError

_T = TypeVar("_T")


class DocumentError(WebcamMLError):
    """A stored document cannot be read, or a later version of this project wrote it."""


def canonical_json(content: Mapping[str, Any]) -> bytes:
    """Write a document as it is stored: keys in their order, ASCII, no NaN, a line break at the end.

    Raises:
        ValueError: A number is not finite.
    """
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def require_known_version(
    content: Mapping[str, Any], known: int, *, source: PurePath | str
) -> None:
    """Refuse a document that a later version of this project wrote.

    Args:
        content: What was read.
        known: The newest schema version that can be read.
        source: Where it was read, for the message.

    Raises:
        DocumentError: It is of a later schema version.
    """
    found = content.get("schema_version", 1)
    if isinstance(found, int) and found > known:
        raise DocumentError(
            f"{source} has schema_version {found}, and this version of webcam-ml knows up to "
            f"{known}: a later version wrote it. Upgrade webcam-ml, or use a store that no later "
            "version has written to"
        )


@dataclass(frozen=True)
class Document:
    """A kind of JSON file in the store.

    Attributes:
        file: Its name.
        made_by: The asset that writes it.
        schema_version: The newest version that can be read; all before it can, too.
    """

    file: str
    made_by: str
    schema_version: int = 1

    def write(self, folder: Path, content: Mapping[str, Any]) -> None:
        """Write the file; equal content gives equal bytes."""
        (folder / self.file).write_bytes(canonical_json(content))

    def read(self, folder: Path) -> dict[str, Any]:
        """Read the content as plain values.

        Raises:
            DocumentError: The file is missing or no JSON object, or of a later schema version.
        """
        return self.read_as(folder, lambda content: content)

    def read_as(self, folder: Path, build: Callable[[dict[str, Any]], _T]) -> _T:
        """Read the content and make a value of it.

        Args:
            folder: Where the file is.
            build: From plain values to the value; may raise as constructors do on wrong fields.

        Raises:
            DocumentError: As `read`, or the content is not what it should be.
        """
        path = folder / self.file
        try:
            return self.parse(path.read_bytes(), build, source=path)
        except OSError as error:
            raise DocumentError(
                f"{path} cannot be read ({error.strerror}). Materialize {self.made_by} again"
            ) from error

    def parse(
        self, data: bytes, build: Callable[[dict[str, Any]], _T], *, source: PurePath | str
    ) -> _T:
        """Do as `read_as` does, with bytes; `source` says in messages where they come from."""
        try:
            content = json.loads(data)
            if not isinstance(content, dict):
                raise TypeError("it holds no JSON object")
            require_known_version(content, self.schema_version, source=source)
            return build(content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DocumentError(
                f"{source} is not what it should be ({type(error).__name__}: {error}). Materialize "
                f"{self.made_by} again"
            ) from error


def document_sha256(content: Mapping[str, Any]) -> str:
    """SHA-256 of the file that holds this document."""
    return hashlib.sha256(canonical_json(content)).hexdigest()
