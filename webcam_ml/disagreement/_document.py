"""What disagreement_report.json holds, as types.

Only plain data. Keys and their order are a contract; whoever reads an older file sees its
``schema_version``. What each number means to a curator stands in ``docs/disagreement.md``.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from webcam_ml.contracts import Document, TargetType
from webcam_ml.disagreement._files import REPORT_FILE
from webcam_ml.disagreement._settings import Ranking
from webcam_ml.metrics import Interval

SCHEMA_VERSION: Literal[1] = 1
DOCUMENT = Document(REPORT_FILE, made_by="disagreement_report", schema_version=SCHEMA_VERSION)

WHAT_SIGNED_DIFF_MEANS = "ai_rating − human_rating: positive where the model is higher than people"


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


class Counts(_Part):
    """How many rows were compared and listed, and how many could not be.

    `rated_again` counts labels that an earlier report asked for and that were rated since: they are
    not queued once more. Reports from before 0.2 did not look at that.
    """

    compared: int
    webcams: int
    listed: int
    queued: int
    rated_again: int = 0
    pictures_missing: int
    prediction_kinds: dict[str, int]
    left_out: dict[str, int]


class RankingMeta(_Part):
    """What worst means in this report, and what the ranking was learned from.

    ``without_effect`` says why the ranking tells no label from another, and what to do; None if it
    does.
    """

    by: Ranking
    limit: int
    rater_variance: float
    rater_variance_from: Literal["snapshots with several raters", "the usual value"]
    snapshots_with_several_raters: int
    mean_raters: float
    fitted_rows: int
    fitted_on: Literal["out-of-fold and held-out rows", "all rows"]
    without_effect: str | None = None


class IntervalMethod(_Part):
    """How the intervals were made."""

    confidence: float
    method: str
    bootstrap_samples: int
    random_state: int


class Group(_Part):
    """Some of the compared rows; ``near_threshold`` is None where nothing is decided."""

    group: str
    count: int
    webcams: int
    mean_abs_diff: Interval
    mean_signed_diff: Interval
    near_threshold: int | None


class WebcamGroup(_Part):
    """The compared rows of one webcam; one cannot show how webcams differ, so: no interval."""

    webcam_id: int
    webcam_title: str | None
    count: int
    mean_abs_diff: Interval
    mean_signed_diff: Interval
    near_threshold: int | None


class Summary(_Part):
    """All compared rows, whole and in parts; ``star`` is the human rating in whole stars."""

    all: Group
    phase: list[Group]
    split: list[Group]
    star: list[Group]
    webcam: list[WebcamGroup]


class NearThreshold(_Part):
    """Rows whose score is near the decision threshold."""

    decision_threshold: float
    margin: float
    count: int


class JudgeSaid(_Part):
    """The score of a judge that is no person, and the stars that it means, where that is known.

    ``speaks`` says whether its scores make labels where no person voted.
    """

    judge: str
    score: float
    stars: float | None
    speaks: bool


class Said(_Part):
    """What people's label is made of, and what judges said beside it.

    ``votes`` counts people's by kind: ``stars``, ``no_sunset`` (N, one star), ``gold`` and
    ``gold_no_sunset`` (of the curator).
    """

    votes: dict[str, int]
    judges: list[JudgeSaid]


class ReportRow(_Part):
    """One listed row; ``sha256`` is None if the picture is gone."""

    rank: int
    snapshot_id: int
    webcam_id: int
    webcam_title: str | None
    webcam_source: str | None
    phase: str | None
    captured_at: str | None
    split: Literal["train", "val", "test"]
    prediction_kind: Literal[
        "out_of_fold", "out_of_fold_probe", "model", "recorded", "recorded_known_webcam"
    ]
    model_version: str
    human_rating: float
    rating_count: int
    stars_1: int
    stars_2: int
    stars_3: int
    stars_4: int
    stars_5: int
    ai_rating: float
    raw_score: float
    abs_diff: float
    signed_diff: float
    direction: Literal["model_high", "model_low"] | None
    expected_rating: float
    expected_correction: float
    image_path_or_url: str | None
    sha256: str | None
    # Only where the label source hears judges.
    said: Said | None = Field(default=None, exclude_if=lambda said: said is None)


class DisagreementDocument(_Part):
    """Everything in disagreement_report.json."""

    schema_version: Literal[1]
    model_version: str
    target_type: TargetType
    ai_rating_meaning: str
    signed_diff_meaning: str
    counts: Counts
    ranking: RankingMeta
    intervals: IntervalMethod
    near_threshold: NearThreshold | None
    summary: Summary
    worst: list[ReportRow]
