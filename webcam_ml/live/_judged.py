"""Which candidates were judged while a model is live, and which were refused.

``judged.jsonl`` has a line for each candidate and set of rows that it was judged on, written before
anybody sees the verdict. The more there are since the live model went live, the more strictly the
next one is judged. ``refusals.jsonl`` has a line for each candidate that was judged and refused.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self, TypeAlias

from webcam_ml.contracts import TargetType
from webcam_ml.judging import ASSET, COMPARISON_FILE, Judged
from webcam_ml.live._chain import SealedLine, read_chain
from webcam_ml.live._layout import HEAD_FILE, JUDGED_FILE, REFUSALS_FILE
from webcam_ml.live._production import Production
from webcam_ml.store import ArtifactStore

logger = logging.getLogger(__name__)

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

    def numbers_of(self, key: CandidateKey) -> set[int]:
        """Give the numbers that a candidate has on these rows; two after a count was lost."""
        return {one.candidate_number for one in self.entries if one.key == key}

    def fault_of(self, key: CandidateKey, number: int) -> str | None:
        """Say why a candidate cannot be the one with this number; None if it is."""
        recorded = self.numbers_of(key)
        if number in recorded:
            return None
        says = f"says {max(recorded)}" if recorded else "does not know it"
        return (
            f"says that it is candidate {number} since line {key[1]} of the ledger, and "
            f"{JUDGED_FILE} {says}"
        )


class _Count:
    """judged.jsonl while lines are added to it; the caller must hold the lock of the folder."""

    def __init__(self, production: Production) -> None:
        judged = JudgedCandidates.read(production.folder)
        self._production = production
        self._lines = list(judged.lines)
        self._known = len(self._lines)
        self.lost = lost_lines(production, JUDGED_FILE, judged.lines)
        self.numbers = {one.key: one.candidate_number for one in judged.entries}
        self._highest = {one.key[:2]: one.candidate_number for one in judged.entries}

    @property
    def has_grown(self) -> bool:
        return len(self._lines) > self._known

    def next_number(self, key: CandidateKey) -> int:
        """Give the number that comes after all there were; what is lost may all have been before it."""
        lost = self.lost or 0
        # A file with as many lines as there were is another file: then none of them is known.
        missing = lost if self._known >= lost else max(0, lost - len(self._lines))
        return self._highest.get(key[:2], 0) + missing + 1

    def record(self, key: CandidateKey, number: int, version: str) -> None:
        line = JudgedCandidate.after(
            self._lines,
            time=_now(),
            target_type=key[0],
            since_entry=key[1],
            version=version,
            model_sha256=key[2],
            pair_sha256=key[3],
            candidate_number=number,
            lost=None if self.has_grown else self.lost,
        )
        self._lines.append(line.to_line())
        self.numbers[key] = self._highest[key[:2]] = number

    def record_evidence(self) -> None:
        """Record again what stored evidence knows and the file does not."""
        found = numbers_in_evidence(self._production.store)
        for one in sorted(found, key=lambda one: (one.key[1], one.number)):
            if one.key not in self.numbers and one.number > self._highest.get(one.key[:2], 0):
                logger.warning("%s did not know %s: recorded again", JUDGED_FILE, one.path)
                self.record(one.key, one.number, one.version)

    def save(self) -> None:
        if self.has_grown:
            self._production.append(JUDGED_FILE, self._lines)


def count_candidate(
    production: Production,
    *,
    target_type: TargetType,
    since_entry: int,
    version: str,
    model_sha256: str,
    pair_sha256: str,
) -> int:
    """Give a candidate its number, and record it.

    Where lines are lost that the head knows of, numbers in stored evidence are recorded again, and
    the next candidate comes after all that there were: a count never begins anew.
    """
    count = _Count(production)
    key = (target_type, since_entry, model_sha256, pair_sha256)
    if count.lost or JUDGED_FILE not in production.ledger.beside:
        count.record_evidence()
    if key not in count.numbers or (count.lost and not count.has_grown):
        count.record(key, count.next_number(key), version)
    count.save()
    return count.numbers[key]


def count_from_evidence(production: Production) -> None:
    """Record what stored evidence knows, where the history before is gone."""
    count = _Count(production)
    count.record_evidence()
    count.save()


def lost_lines(production: Production, name: str, lines: Sequence[bytes]) -> int | None:
    """Give how many lines the head names of a file that does not have them all; None if it has."""
    end = production.ledger.beside.get(name)
    fault = None if end is None else end.fault_of(lines)
    if end is None or fault is None:
        return None
    logger.warning("%s %s by %s", production.folder / name, fault, HEAD_FILE)
    return end.entries


class Numbered(NamedTuple):
    """The number of a candidate according to stored evidence, and the file of that evidence."""

    key: CandidateKey
    number: int
    version: str
    path: Path


def numbers_in_evidence(store: ArtifactStore) -> Iterator[Numbered]:
    """Yield the candidate's number from all stored evidence that has a pair."""
    for path in store.files_of(ASSET, COMPARISON_FILE):
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
        fault = judged.fault_of(found.key, found.number)
        if fault is not None:
            yield found.path, fault


def read_refusals(folder: Path) -> tuple[Refusal, ...]:
    """Read refusals.jsonl of a production folder; no file is an empty one.

    Raises:
        LedgerDamagedError: A line was changed, moved, added or removed.
    """
    return read_chain(folder / REFUSALS_FILE, Refusal)[0]


def record_refusal(
    production: Production,
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
    entries, lines = read_chain(production.folder / REFUSALS_FILE, Refusal)
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
        lost=lost_lines(production, REFUSALS_FILE, lines),
    )
    production.append(REFUSALS_FILE, (*lines, refusal.to_line()))
    return refusal


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
