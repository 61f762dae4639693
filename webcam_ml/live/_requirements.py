"""What must fit together before evidence counts: bytes, test split, and the model to replace."""

from collections.abc import Mapping

from webcam_ml.contracts import TargetType
from webcam_ml.errors import WebcamMLError
from webcam_ml.evaluation import Verdict
from webcam_ml.export import META_FILE, MODEL_FILE, ExportedModel, ModelMeta
from webcam_ml.judging import ASSET, EVIDENCE_SCHEMA, Comparison, EvidenceError
from webcam_ml.live._judged import JudgedCandidates, Refusal
from webcam_ml.live._layout import HEAD_FILE, JUDGED_FILE
from webcam_ml.live._ledger import LedgerEntry
from webcam_ml.live._production import Production
from webcam_ml.store import ArtifactMissingError, ArtifactStore, StoredArtifact

COMPARE_AGAIN = (
    "Run: dagster asset materialize -m webcam_ml.definitions --select "
    "'champion_comparison,production_model'"
)


class PromotionRefused(WebcamMLError):  # noqa: N818  # not an error of the program: a decision
    """A model may not go live; the message says why and what to run.

    Attributes:
        verdicts: What the gates said, if it came to that.
        refusal: What was written down, if the candidate was judged and the answer is no: a result.
            None if it could not be judged, or is defective.
    """

    def __init__(
        self,
        message: str,
        verdicts: Mapping[str, Verdict] | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        super().__init__(message)
        self.verdicts = dict(verdicts or {})
        self.refusal = refusal


def load_evidence(evidence: StoredArtifact, store: ArtifactStore) -> Comparison:
    if evidence.asset != ASSET:
        raise PromotionRefused(
            f"{evidence.asset} is no evidence: promotion needs {ASSET}. {COMPARE_AGAIN}"
        )
    try:
        return store.find(ASSET, evidence.data_version).load(Comparison)
    except (ArtifactMissingError, EvidenceError) as error:
        raise PromotionRefused(f"there is no evidence: {error}. {COMPARE_AGAIN}") from error


def require_belongs(
    candidate: StoredArtifact,
    evidence: StoredArtifact,
    comparison: Comparison,
    exported: ExportedModel,
) -> None:
    """Refuse evidence that is about anything but these bytes and their test split."""
    found, meta = comparison.evidence, exported.meta
    bytes_of = {
        MODEL_FILE: (found.candidate.model_sha256, exported.sha256),
        META_FILE: (found.candidate.meta_sha256, candidate.lineage.files[META_FILE].sha256),
        "onnx_model": (found.candidate.onnx_model, candidate.data_version),
        "onnx_model as input": (evidence.lineage.inputs.get("onnx_model"), candidate.data_version),
        "model_version": (found.candidate.model_version, meta.model_version),
        "checkpoint": (comparison.eval_document.checkpoint, meta.digests.checkpoint),
    }
    for what, (judged, asked) in bytes_of.items():
        if judged != asked:
            raise PromotionRefused(
                f"the evidence belongs to other bytes: its {what} is {judged or 'unknown':.40}, the "
                f"candidate's is {asked:.40}. {COMPARE_AGAIN}"
            )
    splits = {
        "evidence": (found.test_split.sha256, meta.digests.test_split),
        "report": (comparison.eval_document.test_split.sha256, meta.digests.test_split),
        "manifest_test": (
            evidence.lineage.inputs.get("manifest_test"),
            candidate.lineage.ancestors.get("manifest_test"),
        ),
    }
    for what, (found_split, asked_split) in splits.items():
        if found_split != asked_split:
            raise PromotionRefused(
                f"the {what} is about another test split ({found_split or 'unknown':.12}) than the "
                f"candidate ({asked_split or 'unknown':.12}). {COMPARE_AGAIN}"
            )


def require_current(
    comparison: Comparison, production: Production, target_type: TargetType, version: str
) -> None:
    """Refuse a comparison with anything but the model that this one would replace (or replaced)."""
    standing = production.ledger.promotions_in_force(target_type)
    if standing and standing[-1].version == version:
        standing = standing[:-1]
    rival = standing[-1] if standing else None
    compared = comparison.evidence.champion
    if rival is None and compared is None:
        return
    if rival is not None and compared is not None:
        expected = (rival.version, rival.digests[MODEL_FILE])
        if (compared.model_version, compared.model_sha256) == expected:
            return
    raise PromotionRefused(
        f"the evidence compares {version} with "
        f"{'no model' if compared is None else compared.model_version}, and "
        f"{'no model' if rival is None else rival.version} is what it would replace now: another "
        f"promotion or roll-back came between. {COMPARE_AGAIN}"
    )


def require_new_evidence(comparison: Comparison, production: Production, meta: ModelMeta) -> None:
    """Refuse evidence of an older version, and evidence whose count of candidates is not ours."""
    found = comparison.evidence
    if found.schema_version < EVIDENCE_SCHEMA:
        raise PromotionRefused(
            f"the evidence on {meta.model_version} was made by an older version of the program, "
            f"which asked for less. {COMPARE_AGAIN}"
        )
    pair = None if found.champion is None else found.champion.pair
    if pair is None:
        return
    now = production.ledger.line_since_rival_is_live(meta.target_type, meta.model_version)
    if pair.since_entry != now:
        raise PromotionRefused(
            f"the evidence counts candidates since line {pair.since_entry} of the ledger, and line "
            f"{now} is the last: another promotion or roll-back came between. {COMPARE_AGAIN}"
        )
    judged, path = JudgedCandidates.read(production.folder), production.folder / JUDGED_FILE
    end = production.ledger.beside.get(JUDGED_FILE)
    lost = None if end is None else end.fault_of(judged.lines)
    key = (meta.target_type, pair.since_entry, found.candidate.model_sha256, pair.sha256)
    fault = judged.fault_of(key, pair.candidate_number)
    if lost is not None or fault is not None:
        raise PromotionRefused(
            "how many candidates were judged cannot be told: "
            + (f"{path} {lost} by {HEAD_FILE}" if lost else f"the evidence {fault}")
            + f". Bring {JUDGED_FILE} back from a backup; without one, {COMPARE_AGAIN[0].lower()}"
            f"{COMPARE_AGAIN[1:]}"
        )


def require_same_bytes(entry: LedgerEntry, exported: ExportedModel) -> None:
    if entry.digests[MODEL_FILE] != exported.sha256:
        raise PromotionRefused(
            f"{entry.version} was live with other bytes (sha256 {entry.digests[MODEL_FILE][:12]}…) "
            f"than this export of the same checkpoint ({exported.sha256[:12]}…): the libraries that "
            "write the file have changed. One name must not stand for two files: train again, or "
            "export with the libraries that lineage.json names"
        )
