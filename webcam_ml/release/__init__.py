"""From a candidate to the live model: evidence, gates, promotion, ledger, roll-back.

Start at `compare_with_champion`, which makes the evidence, and `promote`, which judges it again for
exactly the bytes that it makes live. `GATES` is the one list of conditions. What each gate asks and
why, and how often it errs, stands in ``docs/promotion.md``. Nothing here knows Dagster.
"""

from webcam_ml.release._commands import add_release_commands
from webcam_ml.release._compare import ComparisonResult, compare_with_champion
from webcam_ml.release._evidence import Comparison, Evidence, EvidenceError, Judged
from webcam_ml.release._gates import GATES, WARNINGS, Gate, judge
from webcam_ml.release._ledger import Ledger, LedgerDamagedError, LedgerEntry
from webcam_ml.release._lineage_tree import lineage_tree
from webcam_ml.release._live import LiveModel
from webcam_ml.release._promotion import (
    Promotion,
    PromotionRefused,
    promote,
    promote_override,
    rollback,
)
from webcam_ml.release._prune import Pruned, prune
from webcam_ml.release._settings import ComparisonSettings, ComparisonSettingsError
from webcam_ml.release._verify import Problem, verify

__all__ = [
    "GATES",
    "WARNINGS",
    "Comparison",
    "ComparisonResult",
    "ComparisonSettings",
    "ComparisonSettingsError",
    "Evidence",
    "EvidenceError",
    "Gate",
    "Judged",
    "Ledger",
    "LedgerDamagedError",
    "LedgerEntry",
    "LiveModel",
    "Problem",
    "Promotion",
    "PromotionRefused",
    "Pruned",
    "add_release_commands",
    "compare_with_champion",
    "judge",
    "lineage_tree",
    "promote",
    "promote_override",
    "prune",
    "rollback",
    "verify",
]
