from ._auto_settings import AutoSettings
from ._calibration import PlattScaling, best_f1_threshold, fit_platt
from ._checkpoint import (
    PREDICTIONS_FILE,
    TRAIN_SUMMARY,
    Checkpoint,
    TrainedModel,
)
from ._choice import Choice, choose_backbone, dating_choices, earlier_choice
from ._finetune_settings import FineTuneSettings, find_machine, needs_cluster
from ._probe import JudgedRows, LinearHead, Probe, fit_channel_means, fit_probe
from ._settings import TrainingSettings
from ._training import Predictions, TrainingResult, predict, train
from ._turn import training_turn

__all__ = [
    "PREDICTIONS_FILE",
    "TRAIN_SUMMARY",
    "AutoSettings",
    "Checkpoint",
    "Choice",
    "FineTuneSettings",
    "JudgedRows",
    "LinearHead",
    "PlattScaling",
    "Predictions",
    "Probe",
    "TrainedModel",
    "TrainingResult",
    "TrainingSettings",
    "best_f1_threshold",
    "choose_backbone",
    "dating_choices",
    "earlier_choice",
    "find_machine",
    "fit_channel_means",
    "fit_platt",
    "fit_probe",
    "needs_cluster",
    "predict",
    "train",
    "training_turn",
]
