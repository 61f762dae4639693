"""How sure a candidate must be, given how many were tried before it.

Of many candidates that are truly worse, one is sooner or later judged better by luck. So the n-th
candidate since the live model went live is judged at .05 / (n (n + 1)): these sum to .05 over all
that will ever come, and the first gets half of it. How many worse ones pass, and what it costs
a good one, stands in ``docs/promotion.md``.
"""

from webcam_ml.judging._evidence import Pair

SHARE_OF_ERRORS = 0.05


def allowed_error(candidate_number: int) -> float:
    """Give the one-sided probability of error at which a candidate's bound is taken.

    Args:
        candidate_number: Which candidate it is since the live model went live, from 1.
    """
    return SHARE_OF_ERRORS / (candidate_number * (candidate_number + 1))


def bound_of(pair: Pair, error: float, *, lower: bool) -> float:
    """Give the value that the difference of a pair is beyond with a probability of 1 − error.

    Args:
        pair: With a difference and a standard error.
        error: One-sided probability of error.
        lower: Whether the difference is above the bound, or below it.

    Raises:
        ValueError: The pair has no bounds.
    """
    from scipy import stats

    if pair.difference is None or pair.standard_error is None:
        raise ValueError("a pair without a standard error has no bounds")
    t = float(stats.t.ppf(error, df=pair.effective_webcams - 1.0))
    bound = pair.difference + (t if lower else -t) * pair.standard_error
    return round(bound, 6) + 0.0
