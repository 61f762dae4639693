"""Asset checks: each shows a verdict on what is stored, with the numbers behind it.

A blocking check stops only the run that contains it. A run that leaves it out goes on, which is why
domain functions refuse unusable input themselves. A check that is annotated `Any` yields its result
and then ends the run: Dagster supports that, but its types do not.
"""

from typing import Any

from dagster import (
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    AssetIn,
    MarkdownMetadataValue,
    asset_check,
)

from webcam_ml.dataset import SPLIT_NAMES
from webcam_ml.evaluation import Verdict
from webcam_ml.judging import DEFECTS, GATES, WARNINGS
from webcam_ml.monitoring import FINDINGS, FINDINGS_TO_WATCH
from webcam_ml.orchestration import markdown, presentation
from webcam_ml.orchestration.failures import failing_with_a_sentence, failure
from webcam_ml.orchestration.resources import Workspace
from webcam_ml.orchestration.values import (
    Comparison,
    EvalReport,
    ExportedModel,
    ImageIndex,
    Labels,
    Manifest,
    NearDuplicates,
    ServedAudit,
)


@asset_check(asset="labels_raw", blocking=True)
@failing_with_a_sentence
def ratings_on_scale(labels_raw: Labels) -> AssetCheckResult:
    """Every label is a number from 1 to 5."""
    off, rows = labels_raw.off_scale(), labels_raw.frame.height
    return _result(
        Verdict(
            off.is_empty(),
            f"All {rows:,} labels are from 1 to 5."
            if off.is_empty()
            else f"{off.height:,} of {rows:,} labels are off the 1–5 scale. Mend them in the database.",
            {"rows": rows, "off the scale": off.height},
        ),
        examples=markdown.preview(off, ("snapshot_id", "webcam_id", "label_value")),
    )


@asset_check(asset="labels_raw")
@failing_with_a_sentence
def cached_ratings_fresh(labels_raw: Labels) -> AssetCheckResult:
    """The app's cached averages agree with its rating rows."""
    stale, rows = labels_raw.stale_cached(), labels_raw.frame.height
    return _result(
        Verdict(
            stale.is_empty(),
            f"All {rows:,} cached averages agree with the rating rows."
            if stale.is_empty()
            else f"{stale.height:,} of {rows:,} cached averages (calculated_rating) differ from the "
            "rating rows. Let the app compute them again, or use label_source: public_aggregate.",
            {"rows": rows, "stale": stale.height},
        ),
        severity=AssetCheckSeverity.WARN,
        examples=markdown.preview(
            stale, ("snapshot_id", "webcam_id", "cached_rating", "fresh_rating", "rating_count")
        ),
    )


@asset_check(asset="manifest_full", blocking=True)
@failing_with_a_sentence
def no_webcam_in_two_splits(manifest_full: Manifest) -> AssetCheckResult:
    """No webcam lends pictures to two splits."""
    torn = manifest_full.webcams_in_two_splits()
    webcams = manifest_full.of_webcams.frame["webcam_id"].n_unique()
    return _result(
        Verdict(
            torn.is_empty(),
            f"Each of {webcams:,} webcams is in one split."
            if torn.is_empty()
            else f"{torn.height:,} of {webcams:,} webcams are in more than one split.",
            {"webcams": webcams, "in two splits": torn.height},
        ),
        examples=markdown.preview(torn, ("webcam_id", "splits")),
    )


@asset_check(asset="manifest_full", additional_ins={"labels_raw": AssetIn("labels_raw")})
@failing_with_a_sentence
def no_device_in_two_splits(manifest_full: Manifest, labels_raw: Labels) -> AssetCheckResult:
    """No device of the operator lends pictures to two splits under several webcam ids."""
    from webcam_ml.dataset.duplicates import devices_in_two_splits

    devices = labels_raw.devices
    several = devices["device_id"].n_unique()
    torn = devices_in_two_splits(devices, manifest_full.frame)
    return _result(
        Verdict(
            torn.is_empty(),
            f"Each of {several:,} devices with several webcam ids is in one split."
            if torn.is_empty()
            else f"{torn.height:,} of {several:,} devices with several webcam ids (custom_camera_id) are in "
            f"more than one split, with {int(torn['snapshots'].sum()):,} snapshots: the test rows among "
            "them are no test. merge_duplicate_webcams: true (manifest_full) keeps each in one split.",
            {
                "devices with several webcams": several,
                "webcams of these": devices.height,
                "devices in two splits": torn.height,
                "snapshots of devices in two splits": int(torn["snapshots"].sum()),
            },
        ),
        severity=AssetCheckSeverity.WARN,
        examples=markdown.preview(torn, ("device_id", "webcams", "splits", "snapshots")),
    )


@asset_check(asset="manifest_full", blocking=True)
@failing_with_a_sentence
def targets_usable(manifest_full: Manifest) -> AssetCheckResult:
    """No split is empty, and each has both classes."""
    from webcam_ml.dataset import UnusableTargetsError, require_usable_targets

    counts = {f"{name} rows": manifest_full.meta.counts[name] for name in SPLIT_NAMES}
    try:
        require_usable_targets(manifest_full)
    except UnusableTargetsError as error:
        return _result(Verdict(False, str(error), counts))
    return _result(Verdict(True, "Every split can be learned from or judged on.", counts))


@asset_check(asset="manifest_full")
@failing_with_a_sentence
def judges_agree(workspace: Workspace, manifest_full: Manifest) -> AssetCheckResult:
    """Judges say what they said when the live model was trained."""
    from webcam_ml.live import judges_beside_live

    found = judges_beside_live(manifest_full.meta, workspace.store)
    return _result(
        found.verdict,
        severity=AssetCheckSeverity.WARN,
        examples=presentation.judge_table(found.judges),
    )


@asset_check(asset="image_index", blocking=True)
@failing_with_a_sentence
def images_readable(image_index: ImageIndex) -> AssetCheckResult:
    """No more pictures failed than the run was allowed."""
    failed, limit = image_index.failed_fraction, image_index.max_failed_fraction
    snapshots, elsewhere = image_index.of_snapshots, image_index.failed_elsewhere
    beside = f" So it is with {elsewhere:,} from elsewhere, which stop no run." if elsewhere else ""
    return _result(
        Verdict(
            failed <= limit,
            f"{snapshots.failed().height:,} of {snapshots.frame.height:,} pictures could not be "
            f"read ({failed:.1%}; max_failed_fraction allows {limit:.1%}).{beside}",
            {"failed share": failed, "max_failed_fraction": limit},
        ),
        examples=markdown.counts_table(image_index.failures_by_reason(), "reason"),
    )


@asset_check(asset="image_index", additional_ins={"manifest_full": AssetIn("manifest_full")})
@failing_with_a_sentence
def one_file_for_one_snapshot(image_index: ImageIndex, manifest_full: Manifest) -> AssetCheckResult:
    """No two snapshots of a webcam have the same file."""
    from webcam_ml.dataset.duplicates import find_same_file

    same = find_same_file(manifest_full.of_webcams.frame, image_index)
    different, both = same.with_different_labels(), same.with_both_classes()
    return _result(
        Verdict(
            same.files.is_empty(),
            f"Each of {same.compared:,} snapshots has a file of its own."
            if same.files.is_empty()
            else f"{same.snapshots:,} of {same.compared:,} snapshots share their file with another of "
            f"the same webcam ({same.files.height:,} files). {different.height:,} of these files have "
            f"different labels, over {int(different['snapshots'].sum()):,} snapshots; {both.height:,} "
            "are of more than one class. Is firebase_url the address of a camera's current picture? "
            "Store a picture for each snapshot.",
            {
                "snapshots compared": same.compared,
                "snapshots that share a file": same.snapshots,
                "files": same.files.height,
                "files with different labels": different.height,
                "snapshots of files with different labels": int(different["snapshots"].sum()),
                "files of more than one class": both.height,
            },
        ),
        severity=AssetCheckSeverity.WARN,
        examples=markdown.preview(
            same.files,
            ("webcam_id", "snapshot_id", "snapshots", "labels", "lowest", "highest", "classes"),
        ),
    )


@asset_check(asset="image_index")
@failing_with_a_sentence
def no_near_duplicates_across_splits(
    workspace: Workspace, image_index: NearDuplicates
) -> AssetCheckResult:
    """No two webcams in different splits show the same picture."""
    across = image_index.across_splits()
    pairs = image_index.webcam_pairs().height
    verdict = Verdict(
        across.is_empty(),
        f"No two webcams in different splits show the same picture ({image_index.snapshots:,} compared)."
        + _placeholders(image_index)
        if across.is_empty()
        else f"{across.height:,} pairs of webcams in different splits show the same picture: the test "
        "rows among them are no test. merge_duplicate_webcams: true (manifest_full) keeps such "
        "cameras in one split." + _placeholders(image_index),
        {
            "pairs of webcams across splits": across.height,
            "pairs of pictures across splits": int(across["pictures"].sum()),
            "pairs of webcams within a split": pairs - across.height,
            "placeholders": image_index.placeholders.height,
            "pictures compared": image_index.snapshots,
            "without a time of capture": image_index.without_time,
        },
    )
    result = _result(verdict, severity=AssetCheckSeverity.WARN)
    pictures = presentation.of_near_duplicates(image_index, images=workspace.images)
    return result.with_metadata({**result.metadata, **pictures})


def _placeholders(found: NearDuplicates) -> str:
    """Say how many snapshots show a card instead of what their webcam sees."""
    files = found.placeholders.height
    if not files:
        return ""
    snapshots = int(found.placeholders["snapshots"].sum())
    return (
        f" {snapshots:,} snapshots show one of {files:,} placeholders (a picture of many webcams, or of "
        "different times): they are left out; keep_placeholders: true (image_index) trains on them."
    )


@asset_check(asset="eval_report")
@failing_with_a_sentence
def enough_test_data(eval_report: EvalReport) -> AssetCheckResult:
    """The test split is large enough to judge a model by."""
    from webcam_ml.evaluation import enough_test_data as judge

    return _result(judge(eval_report))


@asset_check(asset="eval_report")
@failing_with_a_sentence
def beats_trivial_baselines(eval_report: EvalReport) -> AssetCheckResult:
    """The model has learned more than what is trivial."""
    from webcam_ml.evaluation import beats_trivial_baselines as judge

    return _result(judge(eval_report))


@asset_check(asset="eval_report")
@failing_with_a_sentence
def calibrated(eval_report: EvalReport) -> AssetCheckResult:
    """Probabilities mean what they say, as far as the test split can tell."""
    from webcam_ml.evaluation import calibrated as judge

    return _result(judge(eval_report), severity=AssetCheckSeverity.WARN)


@asset_check(asset="eval_report")
@failing_with_a_sentence
def no_weak_slice(eval_report: EvalReport) -> AssetCheckResult:
    """No part of the pictures is served clearly worse than the rest."""
    from webcam_ml.evaluation import no_weak_slice as judge

    return _result(judge(eval_report), severity=AssetCheckSeverity.WARN)


@asset_check(asset="onnx_model", blocking=True)
@failing_with_a_sentence
def matches_torch(onnx_model: ExportedModel) -> Any:
    """The exported file scores pictures as the trained network does."""
    parity = onnx_model.parity
    verdict = Verdict(
        parity.passed,
        f"On {parity.pictures} pictures raw_score differs from torch by at most "
        f"{parity.at_most:g} (limit {parity.limit:g}).",
        {"at most": parity.at_most, "limit": parity.limit, "pictures": parity.pictures},
    )
    yield _result(verdict)
    _stop_if_defective(verdict, onnx_model.meta.model_version)


def build_gate_check(name: str, *, blocking: bool) -> AssetChecksDefinition:
    """Show what one gate of promotion says on the stored evidence."""

    @asset_check(
        asset="champion_comparison",
        name=name,
        blocking=blocking,
        description={**GATES, **WARNINGS}[name].__doc__,
    )
    @failing_with_a_sentence
    def gate_check(champion_comparison: Comparison) -> Any:
        verdict = {**GATES, **WARNINGS}[name](champion_comparison)
        severity = AssetCheckSeverity.ERROR if name in GATES else AssetCheckSeverity.WARN
        result = _result(verdict, severity=severity)
        candidate = champion_comparison.evidence.candidate.model_version
        if not verdict.passed and name in GATES:
            asked = {"candidate": candidate}
            if name not in DEFECTS:
                asked["to let it go live all the same"] = presentation.override_command(candidate)
            result = result.with_metadata({**asked, **result.metadata})
        yield result
        if name in DEFECTS:
            _stop_if_defective(verdict, candidate)

    return gate_check


def build_audit_check(name: str) -> AssetChecksDefinition:
    """Show whether an audit of served scores made one of its findings."""

    @asset_check(asset="served_scores_audit", name=f"no_{name}", description=FINDINGS[name])
    @failing_with_a_sentence
    def audit_check(served_scores_audit: ServedAudit) -> AssetCheckResult:
        from webcam_ml.monitoring import audit_verdict

        severity = (
            AssetCheckSeverity.WARN if name in FINDINGS_TO_WATCH else AssetCheckSeverity.ERROR
        )
        return _result(audit_verdict(served_scores_audit, name), severity=severity)

    return audit_check


# Gates that other assets' checks show already, where their evidence is.
SHOWN_ELSEWHERE = {"enough_test_data", "beats_trivial_baselines", "matches_torch"}
GATE_CHECKS = [
    *(
        build_gate_check(name, blocking=name in DEFECTS)
        for name in GATES
        if name not in SHOWN_ELSEWHERE
    ),
    *(build_gate_check(name, blocking=False) for name in WARNINGS),
]

CHECKS: list[AssetChecksDefinition] = [
    ratings_on_scale,
    cached_ratings_fresh,
    no_webcam_in_two_splits,
    no_device_in_two_splits,
    targets_usable,
    judges_agree,
    images_readable,
    one_file_for_one_snapshot,
    no_near_duplicates_across_splits,
    enough_test_data,
    beats_trivial_baselines,
    calibrated,
    no_weak_slice,
    matches_torch,
    *GATE_CHECKS,
    *(build_audit_check(name) for name in FINDINGS),
]


def _stop_if_defective(verdict: Verdict, candidate: str) -> None:
    """End the run with the reason: for a failed blocking check Dagster would show only its name."""
    if not verdict.passed:
        raise failure(f"{candidate} is defective. {verdict.reason}")


def _result(
    verdict: Verdict,
    *,
    severity: AssetCheckSeverity = AssetCheckSeverity.ERROR,
    examples: MarkdownMetadataValue | None = None,
) -> AssetCheckResult:
    metadata = presentation.of_verdict(verdict)
    if examples is not None:
        metadata["examples"] = examples
    return AssetCheckResult(
        passed=verdict.passed, severity=severity, description=verdict.reason, metadata=metadata
    )
