from ._beside_live import pair_within_margin
from ._changes import (
    changes_between,
    compare_judges_of,
    from_demo,
    labels_of,
    training_facts,
)
from ._compare import ComparisonResult, compare_with_champion
from ._evidence import (
    ASSET,
    COMPARISON_FILE,
    EVIDENCE_SCHEMA,
    Comparison,
    Evidence,
    EvidenceError,
    Judged,
    JudgedBy,
    Part,
    as_judged,
)
from ._files import WHAT_CHANGED_FILE
from ._gates import DEFECTS, GATES, GATES_OF_SCHEMA, WARNINGS, Gate, judge
from ._luck import allowed_error
from ._pair import MAX_ROWS_OF_A_CAMERA, CountCandidate, Counted, ScoredRows, measure_pair
from ._rivals import CANDIDATE, RIVAL, MeasuredRival, WasLive
from ._runtime import ModelFile
from ._settings import ComparisonSettings, WeakSlice, is_reason
from ._stored import measure_stored

__all__ = [
    "ASSET",
    "CANDIDATE",
    "COMPARISON_FILE",
    "DEFECTS",
    "EVIDENCE_SCHEMA",
    "GATES",
    "GATES_OF_SCHEMA",
    "MAX_ROWS_OF_A_CAMERA",
    "RIVAL",
    "WARNINGS",
    "WHAT_CHANGED_FILE",
    "Comparison",
    "ComparisonResult",
    "ComparisonSettings",
    "CountCandidate",
    "Counted",
    "Evidence",
    "EvidenceError",
    "Gate",
    "Judged",
    "JudgedBy",
    "MeasuredRival",
    "ModelFile",
    "Part",
    "ScoredRows",
    "WasLive",
    "WeakSlice",
    "allowed_error",
    "as_judged",
    "changes_between",
    "compare_judges_of",
    "compare_with_champion",
    "from_demo",
    "is_reason",
    "judge",
    "labels_of",
    "measure_pair",
    "measure_stored",
    "pair_within_margin",
    "training_facts",
]
