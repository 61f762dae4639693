from ._backbone_graph import (
    OPSET,
    BackboneGraph,
    BackboneSpec,
    adopt_backbone,
    export_graph,
    prepare_backbone,
    require_weights,
    restore_backbone,
    serialise,
)
from ._backbones import BACKBONES, WeightsError, weights_identity
from ._calibration import PlattScaling, best_f1_threshold, fit_platt
from ._checkpoint import LABEL_SCALE, Checkpoint, CheckpointError, TrainedModel
from ._features import Features, extract_features
from ._finetune_settings import FineTuneSettings, find_machine
from ._probe import LinearHead, Probe, ProbeError, fit_channel_means, fit_probe
from ._settings import TrainingSettings
from ._training import (
    Predictions,
    TrainingResult,
    predict,
    train,
)

__all__ = [
    "BACKBONES",
    "LABEL_SCALE",
    "OPSET",
    "BackboneGraph",
    "BackboneSpec",
    "Checkpoint",
    "CheckpointError",
    "Features",
    "FineTuneSettings",
    "LinearHead",
    "PlattScaling",
    "Predictions",
    "Probe",
    "ProbeError",
    "TrainedModel",
    "TrainingResult",
    "TrainingSettings",
    "WeightsError",
    "adopt_backbone",
    "best_f1_threshold",
    "export_graph",
    "extract_features",
    "find_machine",
    "fit_channel_means",
    "fit_platt",
    "fit_probe",
    "predict",
    "prepare_backbone",
    "require_weights",
    "restore_backbone",
    "serialise",
    "train",
    "weights_identity",
]
