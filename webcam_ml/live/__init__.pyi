from ._announce import announce
from ._both import both_heads
from ._chain import LedgerDamagedError
from ._commands import add_release_commands
from ._judged import Refusal, read_refusals
from ._judges import JudgesBesideLive, judges_beside_live
from ._layout import production_folder
from ._ledger import Ledger, LedgerEntry
from ._lineage_tree import lineage_tree
from ._live import LiveModel, LiveOnTest, candidate_counter, live_on_test, live_version, were_live
from ._production import current_ledger
from ._promotion import (
    Promotion,
    promote,
    promote_override,
    rollback,
)
from ._prune import Pruned, prune
from ._requirements import PromotionRefused
from ._stored import stored_models, stored_versions
from ._verify import Problem, verify

__all__ = [
    "JudgesBesideLive",
    "Ledger",
    "LedgerDamagedError",
    "LedgerEntry",
    "LiveModel",
    "LiveOnTest",
    "Problem",
    "Promotion",
    "PromotionRefused",
    "Pruned",
    "Refusal",
    "add_release_commands",
    "announce",
    "both_heads",
    "candidate_counter",
    "current_ledger",
    "judges_beside_live",
    "lineage_tree",
    "live_on_test",
    "live_version",
    "production_folder",
    "promote",
    "promote_override",
    "prune",
    "read_refusals",
    "rollback",
    "stored_models",
    "stored_versions",
    "verify",
    "were_live",
]
