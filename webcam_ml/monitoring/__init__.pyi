from ._announce import announce_findings
from ._audit import audit_served_scores
from ._compare import (
    CLEARLY_DIFFERENT,
    LARGEST_CHANCE,
    Explanation,
    chance_of,
    demanded,
    differs,
    explain,
    explain_by_model,
    noise_of,
)
from ._drift import (
    FEWEST_WEBCAMS_OF_AN_ALARM,
    LARGEST_CHANCE_OF_DRIFT,
    SMALLEST_SHIFT,
    STATISTICS,
    Drift,
    drift,
    picture_statistics,
    welch,
)
from ._findings import FINDINGS, FINDINGS_TO_WATCH
from ._noise import benign
from ._served_audit import Finding, ServedAudit, audit_verdict
from ._settings import AuditSettings
from ._skews import SKEWS, skewed

__all__ = [
    "CLEARLY_DIFFERENT",
    "FEWEST_WEBCAMS_OF_AN_ALARM",
    "FINDINGS",
    "FINDINGS_TO_WATCH",
    "LARGEST_CHANCE",
    "LARGEST_CHANCE_OF_DRIFT",
    "SKEWS",
    "SMALLEST_SHIFT",
    "STATISTICS",
    "AuditSettings",
    "Drift",
    "Explanation",
    "Finding",
    "ServedAudit",
    "announce_findings",
    "audit_served_scores",
    "audit_verdict",
    "benign",
    "chance_of",
    "demanded",
    "differs",
    "drift",
    "explain",
    "explain_by_model",
    "noise_of",
    "picture_statistics",
    "skewed",
    "welch",
]
