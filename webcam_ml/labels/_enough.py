"""Check that there are enough labels, or raise an error that says which setting gives more."""

import polars as pl

from webcam_ml.errors import WebcamMLError
from webcam_ml.labels._labels import Labels

# Fewer cannot be split: train, validation and test each need a webcam of their own, and each of
# them both classes. A good model needs far more; that is judged later.
LEAST_SNAPSHOTS = 10
LEAST_WEBCAMS = 3

# How many different rating counts an error lists.
MOST_COUNTS_SHOWN = 4


class TooFewLabelsError(WebcamMLError):
    """The query leaves no labels, or too few of them to be split by webcam."""


def are_enough(frame: pl.DataFrame) -> bool:
    """Whether labelled snapshots, one a row with its `webcam_id`, can be split at all."""
    return frame.height >= LEAST_SNAPSHOTS and frame["webcam_id"].n_unique() >= LEAST_WEBCAMS


def require_enough(labels: Labels, *, database: str) -> None:
    """Check that there are labels enough to be split.

    Args:
        labels: What a query left.
        database: What to call the database in the error.

    Raises:
        TooFewLabelsError: Fewer than 10 snapshots or 3 webcams are left.
    """
    if are_enough(labels.frame):
        return
    rows = labels.frame.height
    webcams = labels.frame["webcam_id"].n_unique()
    found = "No labels are left" if rows == 0 else f"Only {_labels(rows)} of {_webcams(webcams)}"
    raise TooFewLabelsError(
        f"{found} in {database}; to be split by webcam, at least {LEAST_SNAPSHOTS} of "
        f"{LEAST_WEBCAMS} webcams are needed. {' '.join(_reasons(labels))}"
    )


def _reasons(labels: Labels) -> list[str]:
    """Say why snapshots have no label, the most frequent reason first."""
    counts = labels.counts
    if counts.snapshots == 0:
        return ["webcam_snapshots is empty: does DATABASE_URL name the right database?"]
    if counts.rated_snapshots == 0:
        return [_nobody_rated(labels)]
    sentences = {
        "no_webcam": "of {rated} rated snapshots, {dropped} have no webcam_id.",
        "no_image": "of {rated} rated snapshots, {dropped} have no image (firebase_url is empty).",
        "no_label": _no_label(labels),
        "too_few_ratings": _too_few_ratings(labels),
    }
    present = sorted(
        (reason for reason in sentences if labels.drops[reason]),
        key=lambda reason: -labels.drops[reason],
    )
    reasons = [
        _capitalized(
            sentences[reason].format(
                rated=f"{counts.rated_snapshots:,}", dropped=f"{labels.drops[reason]:,}"
            )
        )
        for reason in present
    ]
    webcams = labels.frame["webcam_id"].n_unique()
    if labels.frame.height >= LEAST_SNAPSHOTS and webcams < LEAST_WEBCAMS:
        reasons.append(
            f"Snapshots are enough, but more webcams are needed: rate some of {LEAST_WEBCAMS - webcams} "
            "or more others."
        )
    elif not reasons:
        rated = f"{counts.rated_snapshots:,} of {counts.snapshots:,} snapshots"
        reasons.append(
            f"Only {rated} are rated, and no setting holds any back: collect more ratings."
        )
    return reasons


def _nobody_rated(labels: Labels) -> str:
    counts = labels.counts
    text = (
        f"None of the {counts.snapshots:,} snapshots has a rating in webcam_snapshot_ratings (a "
        "verdict-only vote, whose rating is NULL, is none)"
    )
    if counts.cached_only_snapshots:
        text += (
            f"; {counts.cached_only_snapshots:,} have a calculated_rating, but a label rests on "
            "ratings: is webcam_snapshot_ratings complete?"
        )
        return text
    return text + ": rate some, or point DATABASE_URL at the database with the ratings."


def _no_label(labels: Labels) -> str:
    if labels.query.curator_sessions:
        return (
            "of {rated} rated snapshots, {dropped} were rated by none of the curator_sessions: add "
            "sessions, or leave curator_sessions empty."
        )
    return (
        "of {rated} rated snapshots, {dropped} have no calculated_rating: set label_source to "
        "public_aggregate, which averages the rating rows, or let the application fill it."
    )


def _too_few_ratings(labels: Labels) -> str:
    minimum = labels.query.min_rating_count
    enough = sum(rows for n, rows in labels.counts.rating_counts.items() if n >= minimum)
    below = [(n, rows) for n, rows in labels.counts.rating_counts.items() if n < minimum]
    shown = [f"{rows:,} have {n}" for n, rows in below[:MOST_COUNTS_SHOWN]]
    if rest := sum(rows for _, rows in below[MOST_COUNTS_SHOWN:]):
        shown.append(f"{rest:,} have more than that, but fewer than {minimum}")
    counted = " from the curator_sessions" if labels.query.curator_sessions else ""
    return (
        f"{enough:,} of {{rated}} rated snapshots have at least {minimum} ratings{counted}; "
        f"{', '.join(shown)}: lower min_rating_count."
    )


def _labels(rows: int) -> str:
    return "1 labelled snapshot" if rows == 1 else f"{rows:,} labelled snapshots"


def _webcams(number: int) -> str:
    return "1 webcam" if number == 1 else f"{number:,} webcams"


def _capitalized(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
