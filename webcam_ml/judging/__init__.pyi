from ._compare import ComparisonResult, WasLive, compare_with_champion, from_demo
from ._evidence import (
    ASSET,
    COMPARISON_FILE,
    Comparison,
    Evidence,
    EvidenceError,
    Judged,
    Part,
    as_judged,
)
from ._gates import GATES, WARNINGS, Gate, judge
from ._runtime import ModelFile
from ._settings import MAX_REASON_LENGTH, ComparisonSettings, ComparisonSettingsError

__all__ = [
    "ASSET",
    "COMPARISON_FILE",
    "GATES",
    "MAX_REASON_LENGTH",
    "WARNINGS",
    "Comparison",
    "ComparisonResult",
    "ComparisonSettings",
    "ComparisonSettingsError",
    "Evidence",
    "EvidenceError",
    "Gate",
    "Judged",
    "ModelFile",
    "Part",
    "WasLive",
    "as_judged",
    "compare_with_champion",
    "from_demo",
    "judge",
]
