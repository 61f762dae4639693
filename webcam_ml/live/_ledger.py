"""ledger.jsonl: every promotion and roll-back, one line each, chained by digests.

Each line carries the SHA-256 of the one before, which does not fit if that line was changed,
moved or removed. The end of the chain has no next line: ``ledger.head`` beside it names how
many lines there are and the digest of the last, and the same of the files beside the ledger. It is
written last of all, so that a head that is one line behind means that a promotion was interrupted
after its decision was recorded.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator

from webcam_ml.contracts import TargetType, require_known_version
from webcam_ml.judging import Judged, Part
from webcam_ml.live._chain import NO_END, ChainedLine, End, LedgerDamagedError, chain_of, read_bytes
from webcam_ml.live._layout import HEAD_FILE, LEDGER_FILE, VERSION_FILES
from webcam_ml.store import is_plain_name

LEDGER_SCHEMA: Literal[2] = 2

Action = Literal["promote", "rollback", "override"]


def _require_plain_name(version: str) -> str:
    if not is_plain_name(version):
        raise ValueError("it is no name of a version")
    return version


def _require_digests_of_version(digests: dict[str, str]) -> dict[str, str]:
    if not digests.keys() >= set(VERSION_FILES):
        raise ValueError(f"it should have the digests of {' and '.join(VERSION_FILES)}")
    return digests


# A ledger may come from a store that others write, and its versions are names of folders.
Version = Annotated[str, AfterValidator(_require_plain_name)]


class AncestorRecord(Part):
    """A stored version that the model descends from, and the digest of its lineage.json."""

    version: str
    data_version: str
    lineage_sha256: str


class LedgerEntry(ChainedLine):
    """One line: what went live, in place of what, on which evidence.

    Attributes:
        time: When, ISO 8601 in UTC.
        action: `promote` (all gates passed), `rollback`, or `override` (a person decided).
        target_type: Which link moved.
        version: The model that is live from here on.
        replaces: The model that was live before, None for the first.
        digests: model.onnx, model.meta.json, test_split → SHA-256.
        lineage: Asset → stored version, of the model, its evidence and all that both were made
            from. Empty for a roll-back: the entry that brought the model in has it.
        verdicts: What the gates said at this moment, with numbers; empty if nothing was judged.
        candidates_judged_on_test_split: How many different models were judged on this test split
            until now, this one included: the more, the more of its verdicts are luck.
        reason: Of an override, a roll-back or a change of definition.
        run_id: The run that did it; None for a command.
        schema_version: Says which gates there were, see `GATES_OF_SCHEMA`.
        relaxed: Why the gates asked for less than usual or before; None if they did not.
        lost: Models that were live by what production_model stored, and that the ledger did not
            know when a person decided all the same: the history before is gone.
    """

    known_schema: ClassVar[int] = LEDGER_SCHEMA

    time: str
    action: Action
    target_type: TargetType
    version: Version
    replaces: Version | None
    digests: Annotated[dict[str, str], AfterValidator(_require_digests_of_version)]
    lineage: dict[str, AncestorRecord]
    verdicts: dict[str, Judged]
    candidates_judged_on_test_split: int | None
    reason: str | None
    run_id: str | None
    schema_version: Literal[1, 2] = 1
    relaxed: str | None = None
    lost: tuple[Version, ...] = ()


@dataclass(frozen=True)
class Head:
    """What ledger.head says.

    Attributes:
        ledger: The end of the ledger.
        beside: The ends of files beside it, by their names.
    """

    ledger: End = NO_END
    beside: Mapping[str, End] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read ledger.head, or a copy of it.

        Raises:
            OSError: It cannot be read.
            ValueError, DocumentError: As `of`.
        """
        return cls.of(path.read_bytes(), path)

    @classmethod
    def of(cls, data: bytes, path: Path) -> Self:
        """Understand the bytes of ledger.head.

        Raises:
            ValueError: It says something else.
            DocumentError: A later version of the program wrote it.
        """
        try:
            head = json.loads(data)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        if not isinstance(head, dict):
            raise ValueError("it is no object")
        require_known_version(head, 1, source=path)
        beside = head.pop("beside", {})
        if not isinstance(beside, dict):
            raise ValueError("beside is no object")
        head.pop("schema_version", None)
        return cls(_end_in(head), {name: _end_in(end) for name, end in beside.items()})

    def to_bytes(self) -> bytes:
        """Serialise as ledger.head."""
        content: dict[str, Any] = self.ledger._asdict()
        if self.beside:
            content["beside"] = {name: end._asdict() for name, end in sorted(self.beside.items())}
        return (json.dumps(content) + "\n").encode()


def _end_in(content: Any) -> End:
    if not isinstance(content, dict) or set(content) != set(End._fields):
        raise ValueError(f"it should say {' and '.join(End._fields)}")
    count, digest = content["entries"], content["sha256"]
    if type(count) is not int or count < 0:
        raise ValueError(f"entries is {count!r}, which is no count")
    if type(digest) is not str:
        raise ValueError(f"sha256 is {digest!r}, which is no digest")
    return End(count, digest)


@dataclass(frozen=True)
class Ledger:
    """The history, read and with its chain checked.

    Attributes:
        entries: All lines in order.
        lines: Their bytes: what was written once is written again as it was, never re-serialised.
        interrupted: Whether the last line was recorded but its promotion perhaps not completed.
        beside: The ends that files beside it should have, or have grown from.
    """

    entries: tuple[LedgerEntry, ...] = ()
    lines: tuple[bytes, ...] = ()
    interrupted: bool = False
    beside: Mapping[str, End] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the ledger of a production folder; no files are an empty history.

        Raises:
            LedgerDamagedError: A line was changed, moved, added or removed.
        """
        # The head first: a promotion in between then looks interrupted, not damaged.
        head = read_bytes(folder / HEAD_FILE)
        return cls.of(head, read_bytes(folder / LEDGER_FILE), folder)

    @classmethod
    def of(cls, head_bytes: bytes | None, ledger_bytes: bytes | None, folder: Path) -> Self:
        """Understand the bytes of both files; None is a file that is not there.

        Args:
            head_bytes: Of ledger.head, read before the ledger.
            ledger_bytes: Of ledger.jsonl.
            folder: Where they are, for messages.

        Raises:
            LedgerDamagedError: A line was changed, moved, added or removed.
        """
        path = folder / LEDGER_FILE
        head = _head_of(head_bytes, folder / HEAD_FILE)
        entries, lines = chain_of(ledger_bytes, path, LedgerEntry)
        count, last = head.ledger
        if head.ledger == End.of(lines):
            return cls(entries, lines, beside=head.beside)
        if entries and (count, last) == (len(entries) - 1, entries[-1].previous):
            return cls(entries, lines, interrupted=True, beside=head.beside)
        # Which of the two was changed cannot be told.
        raise LedgerDamagedError(
            path,
            f"has {len(entries)} lines, and {HEAD_FILE} says that there were {count}"
            if count != len(entries)
            else f"has a last line that is not the one {HEAD_FILE} names",
            or_else=folder / HEAD_FILE,
        )

    @property
    def last_digest(self) -> str:
        """SHA-256 of the last line; zeros if there is none."""
        return End.of(self.lines).sha256

    def to_bytes(self) -> bytes:
        """Serialise as ledger.jsonl."""
        return b"".join(line + b"\n" for line in self.lines)

    def head_bytes(self) -> bytes:
        """Serialise the end of the chain, and of the files beside it, as ledger.head."""
        return Head(End.of(self.lines), self.beside).to_bytes()

    def with_entry(self, entry: LedgerEntry) -> "Ledger":
        """Append one entry that follows from the last."""
        return replace(
            self,
            entries=(*self.entries, entry),
            lines=(*self.lines, entry.to_line()),
            interrupted=False,
        )

    def known_versions(self) -> frozenset[str]:
        """Name every model that went live by the ledger, or whose history it says is gone."""
        return frozenset(name for entry in self.entries for name in (entry.version, *entry.lost))

    def promotions_in_force(self, target_type: TargetType) -> tuple[LedgerEntry, ...]:
        """Give the promotions that still hold, the live one last: a roll-back takes some away."""
        return self._replay(target_type)[0]

    def live(self, target_type: TargetType) -> LedgerEntry | None:
        """Give the entry that brought the live model in, None if there is none."""
        standing = self.promotions_in_force(target_type)
        return standing[-1] if standing else None

    def withdrawn(self, target_type: TargetType) -> frozenset[str]:
        """Name the versions that were rolled back, and not brought back by a person since."""
        return self._replay(target_type)[1]

    def line_since_rival_is_live(self, target_type: TargetType, version: str) -> int:
        """Give the line since which a candidate's rival is, or was, the live model.

        That is the last line of the target type; for a version that is live already, the last one
        before it went live. 0 if there was none.
        """
        live = self.live(target_type)
        until = live.sequence if live is not None and live.version == version else None
        return max(
            (
                entry.sequence
                for entry in self.entries
                if entry.target_type == target_type and (until is None or entry.sequence < until)
            ),
            default=0,
        )

    def first_entries(self) -> Mapping[str, LedgerEntry]:
        """Give for every version that was ever live the first entry that brought it in."""
        found: dict[str, LedgerEntry] = {}
        for entry in self.entries:
            if entry.action != "rollback":
                found.setdefault(entry.version, entry)
        return found

    def _replay(self, target_type: TargetType) -> tuple[tuple[LedgerEntry, ...], frozenset[str]]:
        standing: list[LedgerEntry] = []
        withdrawn: set[str] = set()
        for entry in self.entries:
            if entry.target_type != target_type:
                continue
            if entry.action != "rollback":
                # List each version once: else one that is rolled back would still be further down.
                standing = [other for other in standing if other.version != entry.version]
                standing.append(entry)
                withdrawn.discard(entry.version)
                continue
            while standing and standing[-1].version != entry.version:
                withdrawn.add(standing.pop().version)
        return tuple(standing), frozenset(withdrawn)


def _head_of(data: bytes | None, path: Path) -> Head:
    if data is None:
        return Head()
    try:
        return Head.of(data, path)
    except ValueError as error:
        raise LedgerDamagedError(path, f"cannot be read ({error})") from error
