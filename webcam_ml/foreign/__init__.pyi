from ._command import add_evaluate_command
from ._evaluate import ForeignReport, evaluate_predictions
from ._predictions import ForeignPredictions

__all__ = [
    "ForeignPredictions",
    "ForeignReport",
    "add_evaluate_command",
    "evaluate_predictions",
]
