"""Which candidates were judged while a model is live, and which were refused.

``judged.jsonl`` has a line for each candidate and set of rows that it was judged on, written before
anybody sees the verdict. The more there are since the live model went live, the more strictly the
next one is judged. ``refusals.jsonl`` has a line for each candidate that was judged and refused.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self, TypeAlias

from webcam_ml.contracts import TargetType
from webcam_ml.judging import ASSET, COMPARISON_FILE, Judged
from webcam_ml.live._chain import SealedLine, read_chain
from webcam_ml.store import ArtifactStore, write_atomically

logger = logging.getLogger(__name__)

JUDGED_FILE = "judged.jsonl"
REFUSALS_FILE = "refusals.jsonl"

# What gets its own candidate number: target type, line since which the rival is live, model, rows.
CandidateKey: TypeAlias = tuple[TargetType, int, str, str]


class JudgedCandidate(SealedLine):
    """One candidate on one set of rows.

    Attributes:
        time: When it was judged there first, ISO 8601 in UTC.
        target_type: What the model predicts.
        since_entry: The line of the ledger since which its rival is live.
        version: The candidate.
        model_sha256: SHA-256 of its model.onnx.
        pair_sha256: Digest of the rows that it was compared on.
        candidate_number: Which one it is since then, from 1.
    """

    time: str
    target_type: TargetType
    since_entry: int
    version: str
    model_sha256: str
    pair_sha256: str
    candidate_number: int

    @property
    def key(self) -> CandidateKey:
        """The key of its candidate number."""
        return self.target_type, self.since_entry, self.model_sha256, self.pair_sha256


class Refusal(SealedLine):
    """A candidate that was judged and did not go live.

    Attributes:
        time: When, ISO 8601 in UTC.
        target_type: What the model predicts.
        version: The candidate.
        model_sha256: SHA-256 of its model.onnx.
        live: The model that is live, None if there is none.
        evidence: data_version of the champion_comparison that was judged.
        verdicts: The gates that said no, with numbers; empty if it was rolled back before.
        reason: Why, and what can be done, in sentences.
        run_id: The run; None for a command.
    """

    time: str
    target_type: TargetType
    version: str
    model_sha256: str
    live: str | None
    evidence: str
    verdicts: dict[str, Judged]
    reason: str
    run_id: str | None


@dataclass(frozen=True)
class JudgedCandidates:
    """judged.jsonl, read and with its chain checked."""

    entries: tuple[JudgedCandidate, ...]
    lines: tuple[bytes, ...]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the file of a production folder; no file is an empty one.

        Raises:
            LedgerDamagedError: A line was changed, moved, added or removed.
        """
        return cls(*read_chain(folder / JUDGED_FILE, JudgedCandidate))

    def number_of(self, key: CandidateKey) -> int | None:
        """Give the number that a candidate has on these rows, None if it was not judged there."""
        found = (one.candidate_number for one in self.entries if one.key == key)
        return next(found, None)


def count_candidate(
    folder: Path,
    store: ArtifactStore,
    *,
    target_type: TargetType,
    since_entry: int,
    version: str,
    model_sha256: str,
    pair_sha256: str,
) -> int:
    """Give a candidate its number, and record it; the caller must hold the lock of the folder.

    Numbers in stored evidence count too, so that the count does not begin anew if the file is lost.
    """
    judged = JudgedCandidates.read(folder)
    key = (target_type, since_entry, model_sha256, pair_sha256)
    lines = list(judged.lines)
    numbers = {one.key: one.candidate_number for one in judged.entries}
    highest = _highest(judged)

    def record(one: CandidateKey, number: int, name: str) -> None:
        line = JudgedCandidate.after(
            lines,
            time=_now(),
            target_type=one[0],
            since_entry=one[1],
            version=name,
            model_sha256=one[2],
            pair_sha256=one[3],
            candidate_number=number,
        )
        lines.append(line.to_line())
        numbers[one] = highest[one[:2]] = number

    for found in sorted(numbers_in_evidence(store), key=lambda one: (one.key[1], one.number)):
        if found.key not in numbers and found.number > highest.get(found.key[:2], 0):
            logger.warning("%s did not know %s: recorded again", JUDGED_FILE, found.path)
            record(found.key, found.number, found.version)
    if key not in numbers:
        record(key, highest.get(key[:2], 0) + 1, version)
    if len(lines) > len(judged.lines):
        write_atomically(folder / JUDGED_FILE, b"".join(line + b"\n" for line in lines))
    return numbers[key]


def _highest(judged: JudgedCandidates) -> dict[tuple[TargetType, int], int]:
    return {one.key[:2]: one.candidate_number for one in judged.entries}


class Numbered(NamedTuple):
    """The number of a candidate according to stored evidence, and the file of that evidence."""

    key: CandidateKey
    number: int
    version: str
    path: Path


def numbers_in_evidence(store: ArtifactStore) -> Iterator[Numbered]:
    """Yield the candidate's number from all stored evidence that has a pair."""
    for path in sorted((store.root / ASSET).glob(f"*/{COMPARISON_FILE}")):
        if path.parent.name.startswith(".") or path.parent in store.damaged(ASSET):
            continue
        # Only a few fields are read: older versions may have written others, and damage elsewhere
        # in old evidence must not keep a new model from being judged.
        try:
            content = json.loads(path.read_bytes())
            pair = (content["champion"] or {}).get("pair")
            if pair is None:
                continue
            candidate = content["candidate"]
            yield Numbered(
                (
                    content["target_type"],
                    int(pair["since_entry"]),
                    str(candidate["model_sha256"]),
                    str(pair["sha256"]),
                ),
                int(pair["candidate_number"]),
                str(candidate["model_version"]),
                path,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("%s is not counted: %s", path, error)


def wrong_counts(folder: Path, store: ArtifactStore) -> Iterator[tuple[Path, str]]:
    """Yield each file whose count of candidates does not follow, with what is wrong.

    Raises:
        LedgerDamagedError: judged.jsonl is not what was written.
    """
    judged = JudgedCandidates.read(folder)
    highest: dict[tuple[TargetType, int], int] = {}
    for one in judged.entries:
        before = highest.get(one.key[:2], 0)
        if one.candidate_number <= before:
            what = (
                f"line {one.sequence} calls {one.version} candidate {one.candidate_number}, and "
                f"{before} were judged before it since line {one.since_entry} of the ledger"
            )
            yield folder / JUDGED_FILE, what
        highest[one.key[:2]] = max(one.candidate_number, before)
    for found in numbers_in_evidence(store):
        recorded = judged.number_of(found.key)
        if recorded != found.number:
            says = "does not know it" if recorded is None else f"says {recorded}"
            what = (
                f"says that it is candidate {found.number} since line {found.key[1]} of the "
                f"ledger, and {JUDGED_FILE} {says}"
            )
            yield found.path, what


def read_refusals(folder: Path) -> tuple[Refusal, ...]:
    """Read refusals.jsonl of a production folder; no file is an empty one.

    Raises:
        LedgerDamagedError: A line was changed, moved, added or removed.
    """
    return read_chain(folder / REFUSALS_FILE, Refusal)[0]


def record_refusal(
    folder: Path,
    *,
    target_type: TargetType,
    version: str,
    model_sha256: str,
    live: str | None,
    evidence: str,
    verdicts: dict[str, Judged],
    reason: str,
    run_id: str | None,
) -> Refusal:
    """Write down that a candidate was refused; the same candidate on the same evidence once."""
    entries, lines = read_chain(folder / REFUSALS_FILE, Refusal)
    for known in entries:
        if (known.model_sha256, known.evidence, known.live) == (model_sha256, evidence, live):
            return known
    refusal = Refusal.after(
        lines,
        time=_now(),
        target_type=target_type,
        version=version,
        model_sha256=model_sha256,
        live=live,
        evidence=evidence,
        verdicts=verdicts,
        reason=reason,
        run_id=run_id,
    )
    write_atomically(
        folder / REFUSALS_FILE, b"".join(one + b"\n" for one in (*lines, refusal.to_line()))
    )
    return refusal


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
