"""Files of one JSON object a line, each line with the SHA-256 of the one before.

If a line was changed, moved or removed, the digest in the next one does not fit. Files only grow:
what was written once is written again as it was, never re-serialised.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self, TypeVar

from webcam_ml.contracts import require_known_version
from webcam_ml.errors import WebcamMLError
from webcam_ml.judging import Part

NO_LINE = "0" * 64


class LedgerDamagedError(WebcamMLError):
    """The history is not what was written.

    Attributes:
        paths: The files of which one at least was changed.
        what: What was found.
    """

    def __init__(self, path: Path, what: str, *, or_else: Path | None = None) -> None:
        super().__init__(
            f"{path} {what}. Nothing is promoted or rolled back on such a history: bring the file "
            "back from a backup (`webcam-ml verify` says when it is whole again)"
        )
        self.paths = (path,) if or_else is None else (path, or_else)
        self.what = what


class ChainedLine(Part):
    """One line of such a file.

    Attributes:
        known_schema: The newest schema version that can be read.
        sequence: Number of the line, from 1.
        previous: SHA-256 of the line before; zeros for the first.
    """

    known_schema: ClassVar[int] = 1

    sequence: int
    previous: str

    def to_line(self) -> bytes:
        """Serialise as one line, without the line break."""
        return json.dumps(self.model_dump(mode="json"), allow_nan=False).encode()


class SealedLine(ChainedLine):
    """A line of a file without a head file, which would name its end: it has a digest of itself.

    Attributes:
        seal: SHA-256 of the line without its seal.
    """

    seal: str

    @classmethod
    def after(cls, lines: Sequence[bytes], **values: object) -> Self:
        """Make the line that follows from others."""
        previous = digest_of(lines[-1]) if lines else NO_LINE
        line = cls.model_validate(
            {"sequence": len(lines) + 1, "previous": previous, "seal": "", **values}
        )
        return line.model_copy(update={"seal": line.expected_seal()})

    def expected_seal(self) -> str:
        """Give what the seal should be."""
        return digest_of(json.dumps(self.model_dump(mode="json", exclude={"seal"})).encode())


LineT = TypeVar("LineT", bound=ChainedLine)


def digest_of(line: bytes) -> str:
    """SHA-256 of one line without its line break."""
    return hashlib.sha256(line).hexdigest()


def read_chain(path: Path, kind: type[LineT]) -> tuple[tuple[LineT, ...], tuple[bytes, ...]]:
    """Read such a file and follow the chain; no file is an empty one.

    Args:
        path: The file.
        kind: What its lines are.

    Returns:
        The lines as records, and their bytes without the line breaks.

    Raises:
        LedgerDamagedError: A line was changed, moved, added or removed.
        DocumentError: A later version of the program wrote a line.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    except OSError as error:
        raise LedgerDamagedError(path, f"cannot be read ({error.strerror})") from error
    lines = data.split(b"\n")
    if lines.pop() != b"":
        raise LedgerDamagedError(path, "does not end with a line break: its end is missing")
    entries: list[LineT] = []
    previous = NO_LINE
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line)
            require_known_version(content, kind.known_schema, source=f"line {number} of {path}")
            entry = kind.model_validate(content)
        except (ValueError, AttributeError) as error:
            raise LedgerDamagedError(
                path, f"has a line {number} that is no entry ({type(error).__name__})"
            ) from error
        if entry.previous != previous or entry.sequence != number:
            raise LedgerDamagedError(
                path,
                f"breaks at line {number}: it does not follow from the line before, which was "
                "changed, moved or removed",
            )
        if isinstance(entry, SealedLine) and entry.seal != entry.expected_seal():
            raise LedgerDamagedError(path, f"has a line {number} that was changed")
        entries.append(entry)
        previous = digest_of(line)
    return tuple(entries), tuple(lines)
