"""What is told of an audit: each finding once, and once more when it returns after it was gone."""

from collections.abc import Sequence

from webcam_ml.monitoring._findings import FINDINGS
from webcam_ml.monitoring._served_audit import Finding, ServedAudit
from webcam_ml.notify import deliver, news, write_down
from webcam_ml.store import ArtifactStore

# A database may hold hundreds of names that nobody knows.
VERSIONS_NAMED = 5


def announce_findings(audit: ServedAudit, store: ArtifactStore) -> None:
    """Tell the webhook what an audit found and the one before it did not, each name in one message."""
    for name in FINDINGS:
        kind = f"audit-{name}"
        found = {_whose(one): one for one in audit.findings if one.name == name}
        new = news(store, kind, found)
        if new:
            write_down(store, kind, new, _sentence_of([found[whose] for whose in new]))
    deliver(store)


def _sentence_of(new: Sequence[Finding]) -> str:
    first, *others = new
    sentence = f"served scores, {first.name}: {first.sentence}"
    if not others:
        return sentence
    named = ", ".join(_whose(one) for one in others[: VERSIONS_NAMED - 1])
    more = len(new) - VERSIONS_NAMED
    return f"{sentence} Also found of {named}{f' and {more:,} more' if more > 0 else ''}."


def _whose(finding: Finding) -> str:
    return finding.model_version or "no model"
