"""What is told of what is live: one message for each line of the ledger, and each refused candidate."""

from webcam_ml.live._chain import digest_of
from webcam_ml.live._judged import Refusal
from webcam_ml.live._ledger import LedgerEntry
from webcam_ml.notify import tell
from webcam_ml.store import ArtifactStore

KIND = "live"


def announce(line: LedgerEntry | Refusal, store: ArtifactStore) -> None:
    """Tell the webhook what went live, or which candidate did not, unless it was told before.

    A candidate that is refused again, on other evidence or in another run, is no news while the same
    model is live.
    """
    if isinstance(line, Refusal):
        tell(store, KIND, f"refused {line.model_sha256} {line.live}", line.reason)
    else:
        tell(store, KIND, digest_of(line.to_line()), _sentence_of(line))


def _sentence_of(entry: LedgerEntry) -> str:
    how = {"promote": "is live", "rollback": "is live again", "override": "is live by override"}
    sentence = f"{entry.version} {how[entry.action]} for {entry.target_type}"
    if entry.replaces is not None:
        sentence += f", instead of {entry.replaces}"
    against = [name for name, verdict in entry.verdicts.items() if not verdict.passed]
    if against:
        sentence += f"; against it: {', '.join(against)}"
    return f"{sentence}." + (f" Reason: {entry.reason}" if entry.reason else "")
