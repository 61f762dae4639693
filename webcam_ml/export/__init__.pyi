from ._heads import ModelFiles, NoCommonBackboneError, join_heads
from ._meta import META_FILE, JudgesMeta, ModelMeta
from ._model_file import MODEL_FILE, ExportedModel, export_candidate
from ._parity import (
    MAX_DIFFERENCE,
    Parity,
    differences_from_torch,
    measure_parity,
    parity_pictures,
)
from ._scores import score_pictures

__all__ = [
    "MAX_DIFFERENCE",
    "META_FILE",
    "MODEL_FILE",
    "ExportedModel",
    "JudgesMeta",
    "ModelFiles",
    "ModelMeta",
    "NoCommonBackboneError",
    "Parity",
    "differences_from_torch",
    "export_candidate",
    "join_heads",
    "measure_parity",
    "parity_pictures",
    "score_pictures",
]
