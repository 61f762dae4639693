"""What an audit may find, by name. Importing this loads nothing: the page has a check for each."""

from collections.abc import Mapping

OTHER_PREPROCESSING = "other_preprocessing"
OTHER_SCORES = "other_scores"
WRONG_VERSION = "wrong_version"
UNKNOWN_VERSION = "unknown_version"
BASELINE_UNDER_NAME = "baseline_under_a_models_name"
SCORES_OFF_SCALE = "scores_off_scale"
PICTURES_CHANGED = "pictures_changed"
UNSCORED_FRAMES = "unscored_frames"
DRIFT = "drift"

FINDINGS: Mapping[str, str] = {
    OTHER_PREPROCESSING: "Pictures are prepared as the model was trained on them.",
    OTHER_SCORES: "Stored scores are those of the file that they name.",
    WRONG_VERSION: "Scores stand under the name of the model that gave them.",
    UNKNOWN_VERSION: "Every version that scores are stored under is a model of the store.",
    BASELINE_UNDER_NAME: "No score of the baseline stands under a model's name.",
    SCORES_OFF_SCALE: "Stored scores are on their scale, and ratings fit them.",
    PICTURES_CHANGED: "Under the address of a snapshot stays the picture that was scored.",
    UNSCORED_FRAMES: "Nearly all snapshots have a score.",
    DRIFT: "Scores and pictures are like those that the live model was judged on.",
}
"""What may be found, by name, and what holds where it is not."""

FINDINGS_TO_WATCH = frozenset({UNKNOWN_VERSION, PICTURES_CHANGED, UNSCORED_FRAMES, DRIFT})
"""Those that may be meant, and are warnings."""
