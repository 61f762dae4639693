"""From a checkpoint to one ONNX file with preprocessing inside, and the proof that it agrees."""

from webcam_ml.export._meta import ModelMeta
from webcam_ml.export._model_file import META_FILE, MODEL_FILE, ExportedModel, export_model
from webcam_ml.export._parity import MAX_DIFFERENCE, Parity, compare_with_torch, parity_pictures

__all__ = [
    "MAX_DIFFERENCE",
    "META_FILE",
    "MODEL_FILE",
    "ExportedModel",
    "ModelMeta",
    "Parity",
    "compare_with_torch",
    "export_model",
    "parity_pictures",
]
