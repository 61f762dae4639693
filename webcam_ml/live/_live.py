"""Which model is live, and what the asset production_model holds: the one a promotion made live."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

import polars as pl

from webcam_ml.contracts import Document, TargetType, target_of
from webcam_ml.evaluation import EvalReport
from webcam_ml.export import MODEL_FILE
from webcam_ml.judging import (
    ASSET,
    Comparison,
    CountCandidate,
    Counted,
    EvidenceError,
    JudgedBy,
    ModelFile,
    WasLive,
)
from webcam_ml.live._judged import JudgedCandidates, Refusal, count_candidate
from webcam_ml.live._layout import production_folder, version_folder
from webcam_ml.live._ledger import LedgerEntry
from webcam_ml.live._production import (
    Production,
    change_production,
    current_ledger,
    fetch_version,
)
from webcam_ml.live._promotion import Promotion
from webcam_ml.store import ArtifactDamagedError, ArtifactMissingError, ArtifactStore

DOCUMENT = Document("production_model.json", made_by="production_model")


@dataclass(frozen=True)
class LiveModel:
    """The model that is live for its target type, and the candidate that was refused, if one was.

    Attributes:
        target_type: `binary` or `regression`.
        model_version: Its name; None if no model is live.
        digests: SHA-256 of its files and of the test split it was judged on.
        refused: The candidate that this decision was about and that does not go live; None if it
            does.
        refused_because: Why not.
    """

    target_type: str
    model_version: str | None
    digests: Mapping[str, str]
    refused: str | None = None
    refused_because: str | None = None

    @classmethod
    def of(cls, promotion: Promotion) -> Self:
        """Take what is live from a promotion, without its time and run."""
        return cls._of_entry(promotion.entry.target_type, promotion.entry)

    @classmethod
    def after_refusal(cls, refusal: Refusal, store: ArtifactStore) -> Self:
        """Give what stays live after a candidate was refused."""
        live = current_ledger(store).live(refusal.target_type)
        return replace(
            cls._of_entry(refusal.target_type, live),
            refused=refusal.version,
            refused_because=refusal.reason,
        )

    @classmethod
    def _of_entry(cls, target_type: TargetType, entry: LedgerEntry | None) -> Self:
        return cls(
            target_type=target_type,
            model_version=None if entry is None else entry.version,
            digests={} if entry is None else dict(sorted(entry.digests.items())),
        )

    def save(self, folder: Path) -> None:
        """Write production_model.json."""
        content = asdict(self)
        if self.refused is None:
            del content["refused"], content["refused_because"]
        DOCUMENT.write(folder, content)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read production_model.json."""
        return DOCUMENT.read_as(folder, lambda content: cls(**content))


def live_version(store: ArtifactStore, target_type: TargetType) -> str | None:
    """Give the model_version that is live for a target type, None if there is none.

    Raises:
        LedgerDamagedError: The ledger is not what was written.
    """
    entry = current_ledger(store).live(target_type)
    return None if entry is None else entry.version


def were_live(store: ArtifactStore, target_type: TargetType) -> tuple[WasLive, ...]:
    """Give the models of a target type whose promotions still hold, the live one last.

    Raises:
        LedgerDamagedError: The ledger is not what was written.
    """
    return tuple(
        WasLive(
            file=ModelFile(
                version_folder(store, entry.version) / MODEL_FILE,
                entry.version,
                entry.digests[MODEL_FILE],
            ),
            onnx_model=entry.lineage["onnx_model"].data_version,
            quality=_quality(entry),
            judged_by=_judged_by(store, entry),
            fetch=partial(fetch_version, store, entry),
        )
        for entry in current_ledger(store).promotions_in_force(target_type)
    )


def _quality(entry: LedgerEntry) -> float | None:
    floor = entry.verdicts.get("quality_floor")
    value = None if floor is None else floor.numbers.get("value")
    if not isinstance(value, int | float):
        return None
    return target_of(entry.target_type).quality(value)


def _judged_by(store: ArtifactStore, entry: LedgerEntry) -> JudgedBy | None:
    record = entry.lineage.get(ASSET)
    if record is None:
        return None  # by override, before it was compared with anything
    try:
        evidence = store.find(ASSET, record.data_version).load(Comparison).evidence
    except (ArtifactMissingError, ArtifactDamagedError, EvidenceError):
        return None  # `webcam-ml verify` reports it
    return JudgedBy(
        settings=evidence.settings,
        rows=evidence.test_split.rows,
        rows_missing=evidence.test_split.missing,
        placeholders=evidence.test_split.placeholders,
    )


@dataclass(frozen=True, eq=False)
class LiveOnTest:
    """The live model's scores of the test rows of its time, to compare another model with.

    Attributes:
        model_version: Its name.
        scores: `snapshot_id` and `live_score` (0–1) of its test rows, which it never saw.
        next_number: Which candidate the next one would be since it went live; it is not recorded.
    """

    model_version: str
    scores: pl.DataFrame
    next_number: Counted


def live_on_test(store: ArtifactStore, target_type: TargetType) -> LiveOnTest | None:
    """Read what the live model said of its test rows; None if there is none, or it was not kept.

    Raises:
        LedgerDamagedError: The ledger is not what was written.
        ArtifactDamagedError: The report on it is not what was written.
    """
    ledger = current_ledger(store)
    live = ledger.live(target_type)
    record = None if live is None else live.lineage.get("eval_report")
    if live is None or record is None:
        return None
    predictions = store.find("eval_report", record.data_version).load(EvalReport).predictions
    if predictions is None:
        return None
    since = ledger.line_since_rival_is_live(target_type, "")
    numbers = [
        one.candidate_number
        for one in JudgedCandidates.read(production_folder(store)).entries
        if (one.target_type, one.since_entry) == (target_type, since)
    ]
    return LiveOnTest(
        live.version,
        predictions.filter(pl.col("split") == "test").select(
            "snapshot_id", live_score=pl.col("raw_score")
        ),
        Counted(since, max(numbers, default=0) + 1),
    )


def candidate_counter(store: ArtifactStore, target_type: TargetType) -> CountCandidate:
    """Make the function that gives a candidate its number and records it in judged.jsonl.

    Args:
        store: Where the live models are.
        target_type: Which of them the candidate is compared with.
    """

    def count(version: str, model_sha256: str, pair_sha256: str) -> Counted:
        def record(production: Production) -> Counted:
            since = production.ledger.line_since_rival_is_live(target_type, version)
            number = count_candidate(
                production,
                target_type=target_type,
                since_entry=since,
                version=version,
                model_sha256=model_sha256,
                pair_sha256=pair_sha256,
            )
            return Counted(since, number)

        return change_production(store, record)

    return count
