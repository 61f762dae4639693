"""Files of one JSON object a line, each line with the SHA-256 of the one before.

If a line was changed, moved or removed, the digest in the next one does not fit. Files only grow:
what was written once is written again as it was, never re-serialised.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple, Self, TypeVar

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

    def in_(self, address: str) -> "LedgerDamagedError":
        """Say in which bucket a file is that was named by its key."""
        path, *others = self.paths
        return LedgerDamagedError(
            path, f"in {address} {self.what}", or_else=others[0] if others else None
        )


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
    """A line of a file beside the ledger: it has a digest of itself.

    Attributes:
        seal: SHA-256 of the line without its seal.
        lost: So many lines the head named when this one was written, and they were not all there;
            None if they were.
    """

    seal: str
    lost: int | None = None

    @classmethod
    def after(cls, lines: Sequence[bytes], **values: object) -> Self:
        """Make the line that follows from others."""
        end = End.of(lines)
        line = cls.model_validate(
            {"sequence": end.entries + 1, "previous": end.sha256, "seal": "", **values}
        )
        return line.model_copy(update={"seal": line.expected_seal()})

    def expected_seal(self) -> str:
        """Give what the seal should be."""
        unsealed = {"seal"} if self.lost else {"seal", "lost"}
        return digest_of(json.dumps(self.model_dump(mode="json", exclude=unsealed)).encode())


LineT = TypeVar("LineT", bound=ChainedLine)


class End(NamedTuple):
    """Where such a file ends: how many lines it has, and the SHA-256 of the last; zeros for none."""

    entries: int
    sha256: str

    @classmethod
    def of(cls, lines: Sequence[bytes]) -> "End":
        """Give the end of lines without their line breaks."""
        return cls(len(lines), digest_of(lines[-1]) if lines else NO_LINE)

    def fault_of(self, lines: Sequence[bytes]) -> str | None:
        """Say in what a file is not one that ended so, or has grown from it; None if it is."""
        if self.entries > len(lines):
            return f"has {len(lines)} lines, and there were {self.entries}"
        if self.entries and digest_of(lines[self.entries - 1]) != self.sha256:
            return f"has another line {self.entries} than there was"
        return None


NO_END = End(0, NO_LINE)


def digest_of(line: bytes) -> str:
    """SHA-256 of one line without its line break."""
    return hashlib.sha256(line).hexdigest()


def read_bytes(path: Path) -> bytes | None:
    """Read such a file; None if there is none.

    Raises:
        LedgerDamagedError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerDamagedError(path, f"cannot be read ({error.strerror})") from error


def read_lines(path: Path) -> list[bytes]:
    """Read the lines of such a file without their line breaks; no file has none.

    Raises:
        LedgerDamagedError: It cannot be read, or its last line has no end.
    """
    return _lines_of(read_bytes(path), path)


def _lines_of(data: bytes | None, path: Path) -> list[bytes]:
    lines = (data or b"").split(b"\n")
    if lines.pop() != b"":
        raise LedgerDamagedError(path, "does not end with a line break: its end is missing")
    return lines


def read_chain(path: Path, kind: type[LineT]) -> tuple[tuple[LineT, ...], tuple[bytes, ...]]:
    """Read such a file and follow the chain, as `chain_of`; no file is an empty one."""
    return chain_of(read_bytes(path), path, kind)


def chain_of(
    data: bytes | None, path: Path, kind: type[LineT]
) -> tuple[tuple[LineT, ...], tuple[bytes, ...]]:
    """Follow the chain in the bytes of such a file.

    Args:
        data: The bytes; None is as none.
        path: The file, for messages.
        kind: What its lines are.

    Returns:
        The lines as records, and their bytes without the line breaks.

    Raises:
        LedgerDamagedError: A line was changed, moved, added or removed.
        DocumentError: A later version of the program wrote a line.
    """
    lines = _lines_of(data, path)
    entries: list[LineT] = []
    previous = NO_LINE
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line)
            require_known_version(content, kind.known_schema, source=f"line {number} of {path}")
            entry = kind.model_validate(content)
        except (ValueError, AttributeError, RecursionError) as error:
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
