from ._commands import add_release_commands
from ._compare import ComparisonResult, compare_with_champion
from ._evidence import Comparison, Evidence, EvidenceError, Judged
from ._gates import GATES, WARNINGS, Gate, judge
from ._ledger import Ledger, LedgerDamagedError, LedgerEntry
from ._lineage_tree import lineage_tree
from ._live import LiveModel, live_version
from ._promotion import (
    Promotion,
    PromotionRefused,
    promote,
    promote_override,
    rollback,
    stored_models,
)
from ._prune import Pruned, prune
from ._settings import ComparisonSettings, ComparisonSettingsError
from ._verify import Problem, verify

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
    "live_version",
    "promote",
    "promote_override",
    "prune",
    "rollback",
    "stored_models",
    "verify",
]
