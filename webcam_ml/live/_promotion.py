"""What may go live: by evidence, by going back, or by a person who says why."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from webcam_ml.contracts import TargetType
from webcam_ml.errors import WebcamMLError
from webcam_ml.evaluation import Verdict
from webcam_ml.export import META_FILE, MODEL_FILE, ExportedModel, ModelMeta
from webcam_ml.judging import (
    ASSET,
    COMPARISON_FILE,
    DEFECTS,
    EVIDENCE_SCHEMA,
    MAX_REASON_LENGTH,
    Comparison,
    EvidenceError,
    as_judged,
    judge,
)
from webcam_ml.live._judged import Refusal, record_refusal, wrong_counts
from webcam_ml.live._layout import version_folder
from webcam_ml.live._ledger import AncestorRecord, LedgerEntry
from webcam_ml.live._production import Production, changing_production, sha256_of
from webcam_ml.store import ArtifactMissingError, ArtifactStore, Lineage, StoredArtifact

logger = logging.getLogger(__name__)

COMPARE_AGAIN = (
    "Run: dagster asset materialize -m webcam_ml.definitions --select "
    "'champion_comparison,production_model'"
)
LINEAGE_FILE = "lineage.json"


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


@dataclass(frozen=True)
class Promotion:
    """What is live after a promotion.

    Attributes:
        entry: The line in the ledger that made it live.
        folder: Where it is.
        link: The stable path that leads there.
        is_new: False if it was live already and nothing was changed.
        verdicts: What the gates said now.
    """

    entry: LedgerEntry
    folder: Path
    link: Path
    is_new: bool
    verdicts: Mapping[str, Verdict]


def promote(
    candidate: StoredArtifact, evidence: StoredArtifact, *, store: ArtifactStore, run_id: str | None
) -> Promotion:
    """Make a candidate live if its evidence, judged again, says so.

    Everything is read anew from the store and verified: nothing that happened before, no check and
    no stored verdict, is taken for granted. Safe for several processes at once.

    Args:
        candidate: A stored version of onnx_model.
        evidence: A stored version of champion_comparison.
        store: Where both are, and the live models.
        run_id: For the ledger.

    Raises:
        PromotionRefused: The evidence is of other bytes or another test split, or compares with a
            model that is no longer live; the file is defective; or, with a `refusal` that is
            written down, a gate says no or the version was rolled back.
        ArtifactDamagedError: A stored file is not what was written.
        LedgerDamagedError: The ledger is not what was written.
        WebcamMLError: The production folder cannot be written.
    """
    exported = store.find(candidate.asset, candidate.data_version).load(ExportedModel)
    meta = exported.meta
    comparison = _load_evidence(evidence, store)
    _require_belongs(candidate, evidence, comparison, exported)
    with changing_production(store) as production:
        ledger = production.ledger
        live = ledger.live(meta.target_type)
        is_live = live is not None and live.version == meta.model_version
        _require_current(comparison, production, meta.target_type, meta.model_version)
        if not is_live and meta.model_version not in ledger.withdrawn(meta.target_type):
            _require_new_evidence(comparison, production, meta)
        verdicts = judge(comparison)
        failed = {name: one for name, one in verdicts.items() if not one.passed}
        defects = " ".join(
            f"{name}: {one.reason}" for name, one in failed.items() if name in DEFECTS
        )
        if defects:
            raise PromotionRefused(f"{meta.model_version} is defective. {defects}", verdicts)
        no = _why_not(meta.model_version, failed, production, meta.target_type)
        if no is not None:
            refusal = record_refusal(
                production.folder,
                target_type=meta.target_type,
                version=meta.model_version,
                model_sha256=exported.sha256,
                live=None if live is None else live.version,
                evidence=evidence.data_version,
                verdicts=as_judged(failed),
                reason=no,
                run_id=run_id,
            )
            raise PromotionRefused(no, verdicts, refusal)
        if is_live and live is not None:
            _require_same_bytes(live, exported)
            production.restore_version(live)
            return _result(production, live, verdicts, is_new=False)
        digests = _install(production, candidate, exported)
        entry = production.commit(
            "promote",
            meta.target_type,
            meta.model_version,
            digests=digests | {"test_split": comparison.evidence.test_split.sha256},
            lineage=_lineage_records(store, candidate, evidence),
            verdicts=as_judged(verdicts),
            candidates_judged=_candidates_judged(store, comparison),
            reason=_reason(comparison),
            relaxed=_relaxed(comparison),
            run_id=run_id,
        )
        logger.info("%s is live", meta.model_version)
        return _result(production, entry, verdicts, is_new=True)


def rollback(
    store: ArtifactStore,
    *,
    to: str | None = None,
    target_type: TargetType | None = None,
    reason: str | None = None,
    run_id: str | None = None,
) -> LedgerEntry:
    """Make an earlier model live again.

    What is left behind, and with `to` what came between, returns only by an override.

    Args:
        store: Where the live models are.
        to: A version that was live; by default the one before the live one.
        target_type: Which of the two links; needed only if both have models and `to` is not given.
        reason: For the ledger.
        run_id: For the ledger.

    Raises:
        PromotionRefused: There is nothing to go back to, or `to` was rolled back itself.
        WebcamMLError: The version is damaged beyond repair, or the folder cannot be written.
    """
    with changing_production(store) as production:
        ledger = production.ledger
        introduced = ledger.introductions()
        if to is not None:
            if to not in introduced:
                raise PromotionRefused(
                    f"{to} was never live. Versions that were: {', '.join(introduced) or 'none'}"
                )
            target_type = introduced[to].target_type
        elif target_type is None:
            with_models = {entry.target_type for entry in ledger.entries}
            if len(with_models) != 1:
                raise PromotionRefused(
                    "binary and regression both have a live model: say which version to go back "
                    "to, --to VERSION (`webcam-ml history` lists them)"
                    if with_models
                    else "no model was ever live, so there is nothing to roll back"
                )
            (target_type,) = with_models
        standing = ledger.standing(target_type)
        live = standing[-1].version
        earlier = [entry for entry in standing[:-1] if entry.version != live]
        if to == live:
            raise PromotionRefused(f"{to} is live already")
        if to is None and not earlier:
            raise PromotionRefused(
                f"{live} is live and no {target_type} model was before it. To stop using it, set "
                "AI_SCORING_MODE=baseline where the application runs"
            )
        goal = next((one for one in reversed(earlier) if to in (None, one.version)), None)
        if goal is None:
            raise PromotionRefused(
                f"{to} was rolled back itself. If it should return: webcam-ml promote {to} "
                "--override REASON"
            )
        production.restore_version(introduced[goal.version])
        return production.commit(
            "rollback",
            target_type,
            goal.version,
            digests=introduced[goal.version].digests,
            lineage={},
            verdicts={},
            candidates_judged=None,
            reason=reason,
            run_id=run_id,
        )


def promote_override(
    store: ArtifactStore, version: str, *, reason: str, run_id: str | None = None
) -> LedgerEntry:
    """Make a version live because a person says so, whatever the gates say; recorded as such.

    Args:
        store: Where the models are.
        version: The model_version of a model that was live or of any stored candidate.
        reason: Why; one line that others will read in the ledger.
        run_id: For the ledger.

    Raises:
        PromotionRefused: No reason, or no such version, or it is live already.
        WebcamMLError: The version is damaged beyond repair, or the folder cannot be written.
    """
    reason = reason.strip()
    if not reason or len(reason) > MAX_REASON_LENGTH or not reason.isprintable():
        raise PromotionRefused(
            "an override needs a reason, one line that others will read in the ledger: "
            f"webcam-ml promote {version} --override REASON"
        )
    with changing_production(store) as production:
        introduced = production.ledger.introductions().get(version)
        if introduced is not None:
            stored = store.find("onnx_model", introduced.lineage["onnx_model"].data_version)
        else:
            stored = _find_candidate(store, version)
        exported = stored.load(ExportedModel)
        target_type = exported.meta.target_type
        live = production.ledger.live(target_type)
        if live is not None and live.version == version:
            production.restore_version(live)
            raise PromotionRefused(f"{version} is live already; its files are whole")
        found = _newest_evidence(store, stored)
        verdicts = {} if found is None else judge(found[1])
        digests = _install(production, stored, exported)
        return production.commit(
            "override",
            target_type,
            version,
            digests=digests | {"test_split": exported.meta.digests.test_split},
            lineage=_lineage_records(store, stored, None if found is None else found[0]),
            verdicts=as_judged(verdicts),
            candidates_judged=None if found is None else _candidates_judged(store, found[1]),
            reason=reason,
            relaxed=None if found is None else _relaxed(found[1]),
            run_id=run_id,
        )


def _load_evidence(evidence: StoredArtifact, store: ArtifactStore) -> Comparison:
    if evidence.asset != ASSET:
        raise PromotionRefused(
            f"{evidence.asset} is no evidence: promotion needs {ASSET}. {COMPARE_AGAIN}"
        )
    try:
        return store.find(ASSET, evidence.data_version).load(Comparison)
    except (ArtifactMissingError, EvidenceError) as error:
        raise PromotionRefused(f"there is no evidence: {error}. {COMPARE_AGAIN}") from error


def _require_belongs(
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


def _require_current(
    comparison: Comparison, production: Production, target_type: TargetType, version: str
) -> None:
    """Refuse a comparison with anything but the model that this one would replace (or replaced)."""
    standing = production.ledger.standing(target_type)
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


def _require_new_evidence(comparison: Comparison, production: Production, meta: ModelMeta) -> None:
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
    now = production.ledger.reign(meta.target_type, meta.model_version)
    if pair.since_entry != now:
        raise PromotionRefused(
            f"the evidence counts candidates since line {pair.since_entry} of the ledger, and line "
            f"{now} is the last: another promotion or roll-back came between. {COMPARE_AGAIN}"
        )
    for path, what in wrong_counts(production.folder, production.store):
        raise PromotionRefused(
            f"how many candidates were judged cannot be told: {path} {what}. Bring the file back "
            "from a backup (`webcam-ml verify` says when it is whole again)"
        )


def _why_not(
    version: str,
    failed: Mapping[str, Verdict],
    production: Production,
    target_type: TargetType,
) -> str | None:
    """Say why a candidate that was judged does not go live; None if it does."""
    live = production.ledger.live(target_type)
    override = f'webcam-ml promote {version} --override "REASON"'
    if failed:
        reasons = " ".join(f"{name}: {one.reason}" for name, one in failed.items())
        if live is not None and live.version == version:
            return (
                f"{version} is live already (line {live.sequence} of the ledger, {live.action}), "
                f"and stays so; the gates say no all the same. {reasons}"
            )
        return f"{version} does not go live. {reasons} A person may decide otherwise: {override}"
    if version in production.ledger.withdrawn(target_type):
        return (
            f"{version} was rolled back, so it does not return by itself. If it should: {override}"
        )
    return None


def _require_same_bytes(entry: LedgerEntry, exported: ExportedModel) -> None:
    if entry.digests[MODEL_FILE] != exported.sha256:
        raise PromotionRefused(
            f"{entry.version} was live with other bytes (sha256 {entry.digests[MODEL_FILE][:12]}…) "
            f"than this export of the same checkpoint ({exported.sha256[:12]}…): the libraries that "
            "write the file have changed. One name must not stand for two files: train again, or "
            "export with the libraries that lineage.json names"
        )


def _install(
    production: Production, stored: StoredArtifact, exported: ExportedModel
) -> dict[str, str]:
    """Put a version's folder in place, and give the digests of its files.

    A folder is written once: the same model exported again, for a test split that has grown, keeps
    the description that it went live with.
    """
    introduced = production.ledger.introductions().get(exported.meta.model_version)
    if introduced is None:
        production.add_version(stored)
    else:
        _require_same_bytes(introduced, exported)
        production.restore_version(introduced)
    folder = version_folder(production.store, exported.meta.model_version)
    return {name: sha256_of(folder / name) for name in (MODEL_FILE, META_FILE)}


def _result(
    production: Production, entry: LedgerEntry, verdicts: Mapping[str, Verdict], *, is_new: bool
) -> Promotion:
    return Promotion(
        entry=entry,
        folder=version_folder(production.store, entry.version),
        link=production.folder / entry.target_type,
        is_new=is_new,
        verdicts=verdicts,
    )


def _lineage_records(
    store: ArtifactStore, candidate: StoredArtifact, evidence: StoredArtifact | None
) -> dict[str, AncestorRecord]:
    """Pin the whole family by the digests of their lineage.json, which no data_version covers."""
    versions = {
        **candidate.lineage.ancestors,
        **({} if evidence is None else evidence.lineage.ancestors),
        candidate.asset: candidate.data_version,
        **({} if evidence is None else {evidence.asset: evidence.data_version}),
    }
    family = {asset: store.find(asset, version) for asset, version in sorted(versions.items())}
    return {
        asset: AncestorRecord(
            version=stored.version,
            data_version=stored.data_version,
            lineage_sha256=sha256_of(stored.folder / LINEAGE_FILE),
        )
        for asset, stored in family.items()
    }


def stored_versions(store: ArtifactStore, asset: str) -> Iterator[StoredArtifact]:
    """Yield every readable version of an asset, the newest first."""
    damaged = store.damaged(asset)
    for path in sorted((store.root / asset).glob(f"*/{LINEAGE_FILE}"), reverse=True):
        folder = path.parent
        if folder.name.startswith(".") or folder in damaged:
            continue
        try:
            lineage = Lineage.load(folder)
        except (OSError, ValueError) as error:
            logger.warning("%s cannot be read and is passed over (%s)", path, error)
            continue
        yield StoredArtifact(asset=asset, version=folder.name, folder=folder, lineage=lineage)


def stored_models(store: ArtifactStore) -> dict[str, StoredArtifact]:
    """Give every model of the store by its model_version, the newest where several have the same.

    Whatever was ever live is among them: `prune` keeps it.
    """
    models: dict[str, StoredArtifact] = {}
    for stored in stored_versions(store, "onnx_model"):
        try:
            name = ModelMeta.load(stored.folder).model_version
        except (OSError, ValueError) as error:
            logger.warning("%s is passed over: %s", stored.folder, error)
            continue
        models.setdefault(name, stored)
    return models


def _find_candidate(store: ArtifactStore, version: str) -> StoredArtifact:
    models = stored_models(store)
    if version not in models:
        raise PromotionRefused(
            f"there is no model {version}. Stored candidates: {', '.join(sorted(models)) or 'none'}"
        )
    return models[version]


def _newest_evidence(
    store: ArtifactStore, candidate: StoredArtifact
) -> tuple[StoredArtifact, Comparison] | None:
    found = [
        stored
        for stored in stored_versions(store, ASSET)
        if stored.lineage.inputs.get("onnx_model") == candidate.data_version
    ]
    if not found:
        return None
    # Names begin with a time, and a clock may have been set back; the pointer knows better.
    latest = store.latest(ASSET).version
    newest = next((one for one in found if one.version == latest), found[0])
    return newest, newest.load(Comparison)


def _candidates_judged(store: ArtifactStore, comparison: Comparison) -> int:
    """Count the different models that were ever judged on this test split (`prune` keeps them)."""
    split = comparison.evidence.test_split.sha256
    models = {comparison.evidence.candidate.model_sha256}
    for stored in stored_versions(store, ASSET):
        # Two facts are enough, whatever else an older version wrote; damage elsewhere in old
        # evidence must not keep a new model from going live.
        try:
            content = json.loads((stored.folder / COMPARISON_FILE).read_bytes())
            if content["test_split"]["sha256"] == split:
                models.add(content["candidate"]["model_sha256"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s is not counted: %s", stored.folder, error)
    return len(models)


def _relaxed(comparison: Comparison) -> str | None:
    """Give the reason why less was asked, if a gate says no without it."""
    evidence = comparison.evidence
    settings = evidence.settings.model_copy(update={"relaxed_because": ""})
    strict = replace(comparison, evidence=evidence.model_copy(update={"settings": settings}))
    needed = any(
        judge(strict)[name].passed != one.passed for name, one in judge(comparison).items()
    )
    return evidence.settings.relaxed_because if needed else None


def _reason(comparison: Comparison) -> str | None:
    """Give the reason for a change of definition, if there was one to give a reason for."""
    changed = any(one.kind == "definition" for one in comparison.evidence.changes)
    return comparison.evidence.settings.definition_change if changed else None
