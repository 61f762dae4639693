"""What the report may be asked for, judged before any row is looked at."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from webcam_ml.errors import WebcamMLError

Ranking: TypeAlias = Literal["expected_correction", "abs_diff"]
PredictionSource: TypeAlias = Literal["model", "database"]

LARGEST_LIMIT = 10_000
FEWEST_BOOTSTRAP_SAMPLES = 100


@dataclass(frozen=True, kw_only=True)
class DisagreementSettings:
    """How many rows are listed, in which order, and how the summaries are measured.

    Attributes:
        limit: How many rows the report lists, worst first; summaries always count all rows.
        ranking: What worst means: ``expected_correction`` (stars that the label would be expected
            to move if many more people rated it) or ``abs_diff`` (plain difference).
        predictions: ``model``: what the candidate says, out-of-fold for train rows; ``database``: what
            the application recorded, for auditing production.
        model_version: With ``database``: whose records; empty for the live model's.
        record_inferences: Whether the candidate's scores are written into the label database.
        near_threshold_margin: Binary: a raw_score this close to the decision threshold, or closer,
            counts as near it.
        bootstrap_samples: Resamples of the webcams behind each interval.
        random_state: Seed of the resamples.

    Raises:
        WebcamMLError: A value that makes no report; the message says what to set.
    """

    limit: int = 200
    ranking: Ranking = "expected_correction"
    predictions: PredictionSource = "model"
    model_version: str = ""
    record_inferences: bool = False
    near_threshold_margin: float = 0.1
    bootstrap_samples: int = 2000
    random_state: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= LARGEST_LIMIT:
            raise WebcamMLError(
                f"limit {self.limit} lists nothing useful: it is the number of rows in the "
                f"disagreement report. Set limit to a number from 1 to {LARGEST_LIMIT:,}; the default "
                "is 200, and the summaries count all rows whatever it is"
            )
        if self.ranking not in get_args(Ranking):
            raise WebcamMLError(
                f"there is no ranking {self.ranking!r}. Set ranking to expected_correction (the "
                "default: how far the label would be expected to move if many more people rated "
                "it) or abs_diff (the plain difference)"
            )
        if self.predictions not in get_args(PredictionSource):
            raise WebcamMLError(
                f"there are no predictions {self.predictions!r}. Set predictions to model (the default: "
                "what the candidate says) or database (what the application recorded)"
            )
        if self.model_version and self.predictions != "database":
            raise WebcamMLError(
                f"model_version {self.model_version!r} has no effect with predictions: model, which "
                "compares the candidate. Set predictions: database to audit what the application "
                "recorded under that version, or leave model_version empty"
            )
        if not 0.0 <= self.near_threshold_margin <= 0.5:
            raise WebcamMLError(
                f"near_threshold_margin {self.near_threshold_margin} is not a distance between a "
                "score and the decision threshold. Set it between 0 and 0.5; the default is 0.1"
            )
        if self.bootstrap_samples < FEWEST_BOOTSTRAP_SAMPLES:
            raise WebcamMLError(
                f"bootstrap_samples {self.bootstrap_samples} is too few for an interval. Set it to "
                f"{FEWEST_BOOTSTRAP_SAMPLES} or more; the default is 2000"
            )
        if self.random_state < 0:
            raise WebcamMLError(
                f"random_state {self.random_state} is no seed. Set it to 0 or a positive number"
            )
