from ._announce import announce_findings
from ._audit import audit_served_scores
from ._compare import (
    LARGEST_CHANCE,
    Explanation,
    are_moved,
    chance_of,
    differs,
    explain,
    explain_by_model,
    noise_of,
)
from ._findings import FINDINGS, FINDINGS_TO_WATCH
from ._noise import benign
from ._served_audit import Finding, ServedAudit, audit_verdict
from ._settings import AuditSettings
from ._skews import SKEWS, skewed

__all__ = [
    "FINDINGS",
    "FINDINGS_TO_WATCH",
    "LARGEST_CHANCE",
    "SKEWS",
    "AuditSettings",
    "Explanation",
    "Finding",
    "ServedAudit",
    "announce_findings",
    "are_moved",
    "audit_served_scores",
    "audit_verdict",
    "benign",
    "chance_of",
    "differs",
    "explain",
    "explain_by_model",
    "noise_of",
    "skewed",
]
