"""The artifact of this package: what was found in the stored scores, and the rows that were compared."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import polars as pl

from webcam_ml.contracts import SERVED_ROWS_TABLE, Document
from webcam_ml.evaluation import Verdict
from webcam_ml.monitoring._drift import Drift
from webcam_ml.monitoring._findings import FINDINGS

ROWS_FILE = "served_scores_audit.csv"
DOCUMENT = Document("served_scores_audit.json", made_by="served_scores_audit")


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        name: One of `FINDINGS`.
        model_version: Whose rows; None where it is about no model.
        rows: How many.
        of: Among how many.
        p_value: Of chance; None where nothing was drawn.
        sentence: What was found and what to do, for a person.
    """

    name: str
    model_version: str | None
    rows: int
    of: int
    p_value: float | None
    sentence: str


@dataclass(frozen=True, eq=False)
class ServedAudit:
    """What the application stores, beside what it should.

    Attributes:
        rows: The columns of `SERVED_ROWS_TABLE`, one row for each score that was compared.
        findings: What is not as it should be, in the order of `FINDINGS`.
        snapshots: Snapshots in the time looked at.
        unscored: Those of them without a score.
        stored: Model version → stored scores in that time.
        unreadable: Pictures drawn that could not be fetched.
        places: Columns of the database that scores are stored in; none: it has no such column.
        drift: Of each live model how far what it scores has moved from its test split.
    """

    rows: pl.DataFrame
    findings: tuple[Finding, ...]
    snapshots: int
    unscored: int
    stored: Mapping[str, int]
    unreadable: int
    places: tuple[str, ...]
    drift: Mapping[str, tuple[Drift, ...]]

    def save(self, folder: Path) -> None:
        """Write served_scores_audit.csv and served_scores_audit.json; equal audits give equal bytes."""
        SERVED_ROWS_TABLE.write(self.rows, folder / ROWS_FILE)
        content: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("snapshots", "unscored", "stored", "unreadable", "places")
        }
        content["findings"] = [asdict(one) for one in self.findings]
        content["drift"] = {
            version: [asdict(one) for one in moved] for version, moved in self.drift.items()
        }
        DOCUMENT.write(folder, content)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            TableError: served_scores_audit.csv lacks a column that is needed.
            DocumentError: served_scores_audit.json cannot be read.
        """
        rows = SERVED_ROWS_TABLE.read(folder / ROWS_FILE)
        return DOCUMENT.read_as(
            folder,
            lambda content: cls(
                rows=rows,
                findings=tuple(Finding(**one) for one in content["findings"]),
                places=tuple(content["places"]),
                drift={
                    version: tuple(Drift(**one) for one in moved)
                    for version, moved in content["drift"].items()
                },
                **{
                    name: content[name]
                    for name in ("snapshots", "unscored", "stored", "unreadable")
                },
            ),
        )


def audit_verdict(audit: ServedAudit, name: str) -> Verdict:
    """Say whether one of `FINDINGS` was made, with the sentences and numbers of all of that name."""
    found = [one for one in audit.findings if one.name == name]
    return Verdict(
        not found,
        " ".join(one.sentence for one in found) or f"{FINDINGS[name]} {_looked_at(audit)}",
        _numbers(audit, found),
    )


def _looked_at(audit: ServedAudit) -> str:
    if not audit.places:
        return "(The database has no place for scores, so there is nothing to look at.)"
    scores = sum(audit.stored.values())
    return f"({scores:,} stored scores, {audit.rows.height:,} of them computed again.)"


def _numbers(audit: ServedAudit, found: Sequence[Finding]) -> dict[str, float | int | str | None]:
    numbers: dict[str, float | int | str | None] = {"compared": audit.rows.height}
    for one in found:
        whose = "" if one.model_version is None else f" of {one.model_version}"
        numbers[f"rows{whose}"] = one.rows
        numbers[f"among{whose}"] = one.of
        if one.p_value is not None:
            numbers[f"p{whose}"] = one.p_value
    return numbers
