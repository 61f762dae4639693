"""What is told of an audit: each finding once, and once more when it returns after it was gone."""

from webcam_ml.monitoring._findings import FINDINGS
from webcam_ml.monitoring._served_audit import ServedAudit
from webcam_ml.notify import forget, tell
from webcam_ml.store import ArtifactStore


def announce_findings(audit: ServedAudit, store: ArtifactStore) -> None:
    """Tell the webhook what an audit found, unless an earlier one told it and it was never mended."""
    found = {finding.name for finding in audit.findings}
    for name in FINDINGS.keys() - found:
        forget(store, _kind(name))
    for finding in audit.findings:
        what = finding.model_version or "no model"
        tell(store, _kind(finding.name), what, f"served scores, {finding.name}: {finding.sentence}")


def _kind(name: str) -> str:
    return f"audit-{name}"
