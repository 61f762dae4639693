from ._commands import add_release_commands
from ._ledger import Ledger, LedgerDamagedError, LedgerEntry
from ._lineage_tree import lineage_tree
from ._live import LiveModel, live_version, were_live
from ._promotion import (
    Promotion,
    PromotionRefused,
    promote,
    promote_override,
    rollback,
    stored_models,
)
from ._prune import Pruned, prune
from ._verify import Problem, verify

__all__ = [
    "Ledger",
    "LedgerDamagedError",
    "LedgerEntry",
    "LiveModel",
    "Problem",
    "Promotion",
    "PromotionRefused",
    "Pruned",
    "add_release_commands",
    "lineage_tree",
    "live_version",
    "promote",
    "promote_override",
    "prune",
    "rollback",
    "stored_models",
    "verify",
    "were_live",
]
