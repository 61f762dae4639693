"""What may go live: by evidence, by going back, or by a person who says why."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from webcam_ml.contracts import TargetType
from webcam_ml.evaluation import Verdict
from webcam_ml.export import META_FILE, MODEL_FILE, ExportedModel
from webcam_ml.judging import (
    DEFECTS,
    Comparison,
    as_judged,
    is_reason,
    judge,
)
from webcam_ml.live._judged import count_from_evidence, record_refusal
from webcam_ml.live._layout import version_folder
from webcam_ml.live._ledger import AncestorRecord, LedgerEntry
from webcam_ml.live._production import Production, change_production, sha256_of
from webcam_ml.live._requirements import (
    PromotionRefused,
    load_evidence,
    require_belongs,
    require_current,
    require_new_evidence,
    require_same_bytes,
)
from webcam_ml.live._stored import (
    candidates_judged,
    find_candidate,
    models_that_were_live,
    newest_evidence,
)
from webcam_ml.store import LINEAGE_FILE, ArtifactStore, StoredArtifact

logger = logging.getLogger(__name__)


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
            model that is no longer live; the history of what was live is gone; the file is
            defective; or, with a `refusal` that is written down, a gate says no or the version was
            rolled back.
        ArtifactDamagedError: A stored file is not what was written.
        LedgerDamagedError: The ledger is not what was written.
        WebcamMLError: The production folder cannot be written.
    """
    exported = store.find(candidate.asset, candidate.data_version).load(ExportedModel)
    meta = exported.meta
    comparison = load_evidence(evidence, store)
    require_belongs(candidate, evidence, comparison, exported)

    def decide(production: Production) -> Promotion:
        ledger = production.ledger
        live = ledger.live(meta.target_type)
        is_live = live is not None and live.version == meta.model_version
        require_current(comparison, production, meta.target_type, meta.model_version)
        if not is_live:
            _require_history(production, meta.model_version)
        if not is_live and meta.model_version not in ledger.withdrawn(meta.target_type):
            require_new_evidence(comparison, production, meta)
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
                production,
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
            require_same_bytes(live, exported)
            production.restore_version(live)
            production.follow_both()
            return _result(production, live, verdicts, is_new=False)
        digests = _install(production, candidate, exported)
        entry = production.commit(
            "promote",
            meta.target_type,
            meta.model_version,
            digests=digests | {"test_split": comparison.evidence.test_split.sha256},
            lineage=_lineage_records(store, candidate, evidence),
            verdicts=as_judged(verdicts),
            candidates_judged=candidates_judged(store, comparison),
            reason=_reason(comparison),
            relaxed=_relaxed(comparison),
            run_id=run_id,
        )
        logger.info("%s is live", meta.model_version)
        return _result(production, entry, verdicts, is_new=True)

    return change_production(store, decide)


def rollback(
    store: ArtifactStore,
    *,
    to: str | None = None,
    target_type: TargetType | None = None,
    reason: str | None = None,
    run_id: str | None = None,
) -> LedgerEntry:
    """Make an earlier model live again.

    The model that was live, and with `to` those in between, go live again only by an override.

    Args:
        store: Where the live models are.
        to: A version that was live; by default the one before the live one.
        target_type: Which of the two links; needed only if both have models and `to` is not given.
        reason: For the ledger.
        run_id: For the ledger.

    Raises:
        PromotionRefused: There is nothing to go back to, `to` was rolled back itself, or nobody can
            read the reason.
        WebcamMLError: The version is damaged beyond repair, or the folder cannot be written.
    """
    if reason is not None and not is_reason(reason):
        raise PromotionRefused(
            "a reason of a roll-back is one line that others will read in the ledger, with letters "
            "or digits in it: webcam-ml rollback --reason TEXT, or leave it out"
        )
    return change_production(
        store,
        lambda production: _roll_back(
            production, to=to, target_type=target_type, reason=reason, run_id=run_id
        ),
    )


def _roll_back(
    production: Production,
    *,
    to: str | None,
    target_type: TargetType | None,
    reason: str | None,
    run_id: str | None,
) -> LedgerEntry:
    ledger = production.ledger
    introduced = ledger.first_entries()
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
    standing = ledger.promotions_in_force(target_type)
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

    What the gates say is recorded too, if there is evidence that compares it with what is live now,
    and which models were live before, if their history is gone.

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
    if not is_reason(reason):
        raise PromotionRefused(
            "an override needs a reason, one line that others will read in the ledger, with letters "
            f"or digits in it: webcam-ml promote {version} --override REASON"
        )
    return change_production(
        store, lambda production: _override(production, version, reason=reason, run_id=run_id)
    )


def _override(
    production: Production, version: str, *, reason: str, run_id: str | None
) -> LedgerEntry:
    store = production.store
    introduced = production.ledger.first_entries().get(version)
    if introduced is not None:
        stored = store.find("onnx_model", introduced.lineage["onnx_model"].data_version)
    else:
        stored = find_candidate(store, version)
    exported = stored.load(ExportedModel)
    target_type = exported.meta.target_type
    live = production.ledger.live(target_type)
    lost = _lost_models(production)
    if live is not None and live.version == version and not lost:
        production.restore_version(live)
        raise PromotionRefused(f"{version} is live already; its files are whole")
    if lost:
        count_from_evidence(production)
    found = _evidence_beside_live(production, stored, exported)
    verdicts = {} if found is None else judge(found[1])
    digests = _install(production, stored, exported)
    return production.commit(
        "override",
        target_type,
        version,
        digests=digests | {"test_split": exported.meta.digests.test_split},
        lineage=_lineage_records(store, stored, None if found is None else found[0]),
        verdicts=as_judged(verdicts),
        candidates_judged=None if found is None else candidates_judged(store, found[1]),
        reason=reason,
        relaxed=None if found is None else _relaxed(found[1]),
        lost=sorted(lost),
        run_id=run_id,
    )


def _lost_models(production: Production) -> dict[str, Path]:
    """Give the models that were live by what production_model stored, and not by the ledger."""
    known = production.ledger.known_versions()
    recorded = models_that_were_live(production.store)
    return {name: path for path, name in recorded if name is not None and name not in known}


def _require_history(production: Production, version: str) -> None:
    """Refuse to begin anew where a model was live: it would be compared with nothing."""
    for lost, path in _lost_models(production).items():
        raise PromotionRefused(
            f"{path} says that {lost} was live, and the ledger does not know it: the history is "
            f"gone, or was begun anew. Bring {production.folder} back from a backup. A person may "
            f"go on without it, and the ledger will say so: webcam-ml promote {version} --override "
            '"REASON"'
        )


def _evidence_beside_live(
    production: Production, stored: StoredArtifact, exported: ExportedModel
) -> tuple[StoredArtifact, Comparison] | None:
    """Find the newest evidence on a model; None if it is about another rival than is live now."""
    found = newest_evidence(production.store, stored)
    if found is None:
        return None
    evidence, comparison = found
    meta = exported.meta
    try:
        require_belongs(stored, evidence, comparison, exported)
        require_current(comparison, production, meta.target_type, meta.model_version)
    except PromotionRefused as stale:
        logger.warning("the ledger gets no verdicts: %s", stale)
        return None
    return found


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


def _install(
    production: Production, stored: StoredArtifact, exported: ExportedModel
) -> dict[str, str]:
    """Put a version's folder in place, and give the digests of its files.

    A folder is written once: the same model exported again, for a test split that has grown, keeps
    the description that it went live with.
    """
    introduced = production.ledger.first_entries().get(exported.meta.model_version)
    if introduced is None:
        production.add_version(stored)
    else:
        require_same_bytes(introduced, exported)
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
    """Record all ancestors by the digests of their lineage.json, which no data_version covers."""
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
