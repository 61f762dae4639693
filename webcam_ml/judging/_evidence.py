"""What champion_comparison holds: all that the gates judge, with the digests it belongs to.

Only plain data, deterministic: no times, no paths, no run ids. The report on the candidate is kept
beside it, byte for byte, so that the evidence can be judged again without looking anywhere else.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from webcam_ml.contracts import Document, DocumentError, TargetType, document_sha256
from webcam_ml.dataset.duplicates import PLACEHOLDER
from webcam_ml.errors import WebcamMLError
from webcam_ml.evaluation import EvalDocument, EvalReport, Verdict
from webcam_ml.export import JudgesMeta
from webcam_ml.judging._files import WHAT_CHANGED_FILE
from webcam_ml.judging._settings import ComparisonSettings
from webcam_ml.metrics import Interval

EVIDENCE_SCHEMA: Literal[2] = 2
COMPARISON_FILE = "champion_comparison.json"
EVAL_REPORT_FILE = "eval_report.json"
PLOT_FILE = "champion_comparison.png"
ASSET = "champion_comparison"
DOCUMENT = Document(COMPARISON_FILE, made_by=ASSET, schema_version=EVIDENCE_SCHEMA)

ChangeKind = Literal["definition", "labels", "data", "model"]


class EvidenceError(WebcamMLError):
    """Evidence that cannot be read, or whose parts do not belong together."""


class Part(BaseModel):
    """Base of the records of this package: frozen, complete, nothing but what is named."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


class Judged(Part):
    """A verdict as it is stored."""

    passed: bool
    reason: str
    numbers: dict[str, float | int | str | None]


class Candidate(Part):
    """The model that is to go live, and what it scores on all test rows with a picture.

    `onnx_model` is the data_version in the store; `metrics` is empty if the runtime refused it.
    `label_source` is None in evidence from before it was kept, `judges` also where none are heard.
    """

    model_version: str
    model_sha256: str
    meta_sha256: str
    onnx_model: str
    checkpoint_sha256: str
    labels_sha256: str
    from_demo: bool
    metrics: dict[str, Interval]
    label_source: str | None = None
    judges: JudgesMeta | None = Field(default=None, exclude_if=lambda judges: judges is None)


class ParityEvidence(Part):
    """How far the file is from torch (see `webcam_ml.export.Parity`)."""

    model_sha256: str
    pictures: int
    at_most: float


class TestRows(Part):
    """The frozen test split: digest of manifest_test.csv, rows with a picture, rows without.

    `scored_sha256` is the digest of the rows that were scored, see `rows_sha256`; None in evidence
    of schema 1. `val_rows` and `val_left_out` say the same of validation, which counts in the pair.
    """

    __test__ = False

    sha256: str
    rows: int
    webcams: int
    left_out: dict[str, int]
    scored_sha256: str | None = None
    val_rows: int = 0
    val_left_out: dict[str, int] = {}

    @property
    def missing(self) -> int:
        """Rows without a readable picture; placeholder cards are left out on purpose."""
        return _unreadable(self.left_out)

    @property
    def placeholders(self) -> int:
        """Rows that show a card instead of what the webcam sees."""
        return self.left_out.get(PLACEHOLDER, 0)

    @property
    def val_missing(self) -> int:
        """The same of validation."""
        return _unreadable(self.val_left_out)


def _unreadable(left_out: Mapping[str, int]) -> int:
    return sum(n for reason, n in left_out.items() if reason != PLACEHOLDER)


class ReportAgreement(Part):
    """What the runtime scored beside the predictions that eval_report was measured on, row by row.

    `rows` have both, `rows_unlike` only one of the two or another target; `at_most` bounds the
    difference of raw_score; `reason` says why nothing could be compared.
    """

    rows: int
    rows_unlike: int
    at_most: float | None
    reason: str | None


class Serving(Part):
    """How a fresh process that imports nothing but `webcam_ml.scoring` served the file.

    `at_most` bounds the difference between what it served and the scores that were judged;
    `reason` says what went wrong, and is None if nothing did.
    """

    pictures: int
    at_most: float | None
    reason: str | None


class PairedMetric(Part):
    """One metric of both on the same rows, and candidate minus rival with its one-sided bounds."""

    candidate: Interval
    rival: Interval
    difference: Interval
    lower_bound: float | None
    upper_bound: float | None


class Pair(Part):
    """The rows that decide the verdict, and the primary metric's difference on them.

    Cameras that neither model has learned from: those of test, and of validation where both are
    linear probes. A camera with many rows weighs no more than `MAX_ROWS_OF_A_CAMERA` of them.
    `candidate_number` says which candidate this is since the live model went live, from 1, and
    `since_entry` which line of the ledger that was. `same_scores` says that both models order all
    rows alike (regression: rate them alike).
    """

    splits: list[str]
    sha256: str
    since_entry: int
    candidate_number: int
    rows: int
    webcams: int
    positives: int
    webcams_with_a_positive: int
    effective_webcams: float
    difference: float | None
    standard_error: float | None
    reason: str | None
    same_scores: bool


class OnLiveLabels(Part):
    """Candidate minus live model by the live model's labels, on rows that have both."""

    rows: int
    webcams: int
    difference: Interval


class JudgedBy(Part):
    """What the live model itself was judged by when its evidence was made."""

    settings: ComparisonSettings
    rows: int
    rows_missing: int
    placeholders: int = 0


class KnownPictures(Part):
    """Snapshots of validation and test of which the live model's image_index has a picture too.

    `changed` of these `rows` have another picture now.
    """

    rows: int
    changed: int


class Rival(Part):
    """A model that is or was live, measured beside the candidate on test rows new to both.

    Test webcams that are in the rival's train or validation split are left out and counted. Of the
    live model there are besides (not in evidence of schema 1): the `pair` that decides, None if no
    row is left for it; `on_live_labels` where its labels mean something else than the candidate's;
    what it was `judged_by`, None if that is not stored any more; and the `known_pictures`.
    """

    model_version: str
    model_sha256: str
    onnx_model: str
    from_demo: bool
    rows: int
    webcams: int
    effective_webcams: float
    rows_left_out: int
    webcams_left_out: int
    metrics: dict[str, PairedMetric]
    pair: Pair | None = None
    on_live_labels: OnLiveLabels | None = None
    judged_by: JudgedBy | None = None
    known_pictures: KnownPictures | None = None


class Change(Part):
    """Something that differs from the champion.

    A change of the `definition`, whose ratings count included, needs a reason; `data` and `model`
    are what every retrain changes. (In schema 1 a change of whose ratings count is `labels`.)
    """

    kind: ChangeKind
    what: str
    champion: float | int | str | None
    candidate: float | int | str | None


class Evidence(Part):
    """Everything in champion_comparison.json but the verdicts.

    Schema 1 had no `report_agreement` and no pair; it is read and judged as it was then.
    """

    schema_version: Literal[1, 2]
    target_type: TargetType
    primary_metric: str
    candidate: Candidate
    test_split: TestRows
    eval_report_sha256: str
    parity: ParityEvidence
    serving: Serving
    report_agreement: ReportAgreement | None = None
    champion: Rival | None
    best_ever_live: Rival | None
    changes: list[Change]
    settings: ComparisonSettings


@dataclass(frozen=True)
class Comparison:
    """The artifact: evidence, the report on the candidate, the verdicts then, and a plot.

    Attributes:
        evidence: What was found.
        eval_document: The candidate's eval_report.json.
        verdicts: What each gate and warning said when the evidence was made. Only to be read: a
            promotion judges the evidence again.
        plot: PNG.
        what_changed: A page that shows what is behind it, HTML; None where none was made.
    """

    evidence: Evidence
    eval_document: EvalDocument
    verdicts: Mapping[str, Judged]
    plot: bytes
    what_changed: str | None = None

    def save(self, folder: Path) -> None:
        """Write champion_comparison.json, eval_report.json, the plot and the page."""
        content = {
            **self.evidence.model_dump(mode="json"),
            "verdicts": {name: one.model_dump(mode="json") for name, one in self.verdicts.items()},
        }
        DOCUMENT.write(folder, content)
        EvalReport(document=self.eval_document, plots={}).save(folder)
        (folder / PLOT_FILE).write_bytes(self.plot)
        if self.what_changed is not None:
            (folder / WHAT_CHANGED_FILE).write_bytes(self.what_changed.encode())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            EvidenceError: A file is missing, is of another schema, or the report beside the
                evidence is not the one that the evidence names.
        """
        try:
            content = DOCUMENT.read(folder)
            document = EvalReport.load(folder).document
            plot = (folder / PLOT_FILE).read_bytes()
            page = folder / WHAT_CHANGED_FILE
            verdicts = content.pop("verdicts")
            comparison = cls(
                evidence=Evidence.model_validate(content),
                eval_document=document,
                verdicts={name: Judged.model_validate(one) for name, one in verdicts.items()},
                plot=plot,
                what_changed=page.read_bytes().decode() if page.is_file() else None,
            )
        except DocumentError as error:
            raise EvidenceError(f"{folder} holds no readable evidence: {error}") from error
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise EvidenceError(
                f"{folder} holds no readable evidence ({type(error).__name__}: {error}). "
                f"Materialize {ASSET} again"
            ) from error
        found = hashlib.sha256((folder / EVAL_REPORT_FILE).read_bytes()).hexdigest()
        if found != comparison.evidence.eval_report_sha256:
            raise EvidenceError(
                f"{folder / EVAL_REPORT_FILE} has SHA-256 {found[:12]}…, the evidence beside it "
                f"rests on {comparison.evidence.eval_report_sha256[:12]}…. Materialize {ASSET} again"
            )
        return comparison

    def table(self) -> list[dict[str, float | str | None]]:
        """Give one row a metric: the candidate, the live model, and the difference with bounds."""
        champion = self.evidence.champion
        if champion is None:
            return [
                {"metric": name, "candidate": one.value, "low": one.low, "high": one.high}
                for name, one in self.evidence.candidate.metrics.items()
            ]
        return [
            {
                "metric": name,
                "candidate": one.candidate.value,
                "live": one.rival.value,
                "difference": one.difference.value,
                "at least (95 %)": one.lower_bound,
                "at most (95 %)": one.upper_bound,
            }
            for name, one in champion.metrics.items()
        ]


def eval_report_sha256(document: EvalDocument) -> str:
    """SHA-256 of the eval_report.json that holds this document."""
    return document_sha256(document.model_dump(mode="json"))


def as_judged(verdicts: Mapping[str, Verdict]) -> dict[str, Judged]:
    """Bring verdicts to the form in which evidence and ledger keep them."""
    return {name: Judged(**asdict(verdict)) for name, verdict in verdicts.items()}
