"""How well people agree: as well as a model of their ratings can be expected to do."""

import numpy as np

from webcam_ml.contracts import STAR_COLUMNS, STARS
from webcam_ml.evaluation._document import Raters
from webcam_ml.evaluation._rows import SplitRows
from webcam_ml.metrics import Interval, WebcamBootstrap

MIN_RATINGS = 30


def rater_agreement(rows: SplitRows, *, binary_threshold: float | None) -> Raters:
    """Predict the others' mean rating by one person's, for each person of each picture.

    Args:
        rows: A split, with the counts of its ratings by star.
        binary_threshold: Binary: the others find a picture good if their mean reaches it.

    Returns:
        The primary metric of one person's stars, and of the model on the same pictures against the
        same others: the two can be compared with each other, and with nothing else.
    """
    counts = rows.frame.select(STAR_COLUMNS).to_numpy().astype(np.int64)
    stars = np.array(STARS)
    raters = counts.sum(axis=1)
    several = counts * (raters >= 2)[:, None]
    row, star = np.nonzero(several)
    times = several[row, star]
    row, given = np.repeat(row, times), np.repeat(stars[star], times).astype(np.float64)
    others = ((counts @ stars)[row] - given) / (raters[row] - 1)

    metric = rows.primary_metric
    target = others if binary_threshold is None else np.float64(others >= binary_threshold)
    person = model = None
    if len(given) >= MIN_RATINGS:
        bootstrap = WebcamBootstrap(
            rows.webcam_id[row],
            bootstrap_samples=rows.bootstrap_samples,
            random_state=rows.random_state,
        )
        person = bootstrap.estimate(metric, target, given).interval()
        model = bootstrap.estimate(metric, target, rows.prediction[row]).interval()
    too_few = Interval(
        value=None,
        low=None,
        high=None,
        reason=f"{len(given)} ratings of pictures with several raters; {MIN_RATINGS} are needed",
    )
    return Raters(
        metric=metric.name,
        ratings=len(given),
        snapshots=len(np.unique(row)),
        webcams=len(np.unique(rows.webcam_id[row])),
        one_person=person or too_few,
        model=model or too_few,
    )
