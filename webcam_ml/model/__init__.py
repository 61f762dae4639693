"""From verified images to a trained checkpoint: backbones, cached features, probe, calibration.

Importing this package loads no torch; it is imported where a network is built or a checkpoint read.
"""

from webcam_ml.model._array_cache import ArrayCache
from webcam_ml.model._backbone_graph import (
    OPSET,
    BackboneGraph,
    BackboneSpec,
    export_graph,
    prepare_backbone,
    restore_backbone,
    serialise,
    session_threads,
)
from webcam_ml.model._backbones import BACKBONES, WeightsError, weights_identity
from webcam_ml.model._calibration import PlattScaling, best_f1_threshold, fit_platt
from webcam_ml.model._checkpoint import LABEL_SCALE, Checkpoint, CheckpointError, TrainedModel
from webcam_ml.model._features import Features, extract_features
from webcam_ml.model._probe import LinearHead, Probe, ProbeError, fit_channel_means, fit_probe
from webcam_ml.model._training import (
    Predictions,
    TrainingResult,
    TrainingSettings,
    predict,
    train,
)

__all__ = [
    "BACKBONES",
    "LABEL_SCALE",
    "OPSET",
    "ArrayCache",
    "BackboneGraph",
    "BackboneSpec",
    "Checkpoint",
    "CheckpointError",
    "Features",
    "LinearHead",
    "PlattScaling",
    "Predictions",
    "Probe",
    "ProbeError",
    "TrainedModel",
    "TrainingResult",
    "TrainingSettings",
    "WeightsError",
    "best_f1_threshold",
    "export_graph",
    "extract_features",
    "fit_channel_means",
    "fit_platt",
    "fit_probe",
    "predict",
    "prepare_backbone",
    "restore_backbone",
    "serialise",
    "session_threads",
    "train",
    "weights_identity",
]
