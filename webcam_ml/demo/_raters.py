"""The raters: who votes on a snapshot, and how people disagree about one and the same sky.

A vote is the latent beauty plus the rater's lasting bias plus the mood of the moment, cut into
stars. Few sessions cast most votes, as on every public site.
"""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cache

import numpy as np

from webcam_ml.demo._options import Stream, random_stream

SESSIONS = 80
CURATOR = "curator-1"

# Widths of the two disagreements, in units of beauty.
BIAS_WIDTH = 0.060
MOOD_WIDTH = 0.075

# Perceived beauty from which a vote has 2, 3, 4 and 5 stars. Quantiles of 54,000 drawn votes (60
# seeds), so that the shares of the stars are those of real data: 62, 10, 8, 11 and 9 %.
STAR_CUTS = (0.291, 0.340, 0.394, 0.528)


@dataclass(frozen=True)
class Vote:
    """One person's vote; without stars it is verdict-only.

    Attributes:
        session: The rater's session id.
        stars: 1 to 5, or None.
        hours_later: Between the picture and the vote.
    """

    session: str
    stars: int | None
    hours_later: float


@cache
def _sessions(seed: int) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names, shares of the votes, and biases of all sessions."""
    rng = random_stream(seed, Stream.SESSIONS)
    names = [CURATOR, "curator-2", "curator-3"]
    names += [f"visitor-{rng.bytes(6).hex()}" for _ in range(SESSIONS - len(names))]
    shares = 1 / (np.arange(SESSIONS) + 1.5)
    return tuple(names), shares / shares.sum(), rng.normal(0, BIAS_WIDTH, SESSIONS)


def stars_of(perceived: float) -> int:
    """Stars for a perceived beauty."""
    return 1 + bisect_right(STAR_CUTS, perceived)


def draw_votes(
    seed: int, snapshot: int, appeal: float, *, mean_raters: float, verdicts: int = 0
) -> tuple[Vote, ...]:
    """Draw the votes on a snapshot: its star ratings, then votes that carry no stars.

    Args:
        seed: The demo's.
        snapshot: Its id.
        appeal: The latent beauty that all raters see.
        mean_raters: Mean number of star ratings over many snapshots: one, and a Poisson number
            more; 0 for an unrated snapshot.
        verdicts: Number of verdict-only votes to add.
    """
    rng = random_stream(seed, Stream.VOTES, snapshot)
    names, shares, biases = _sessions(seed)
    raters = 1 + int(rng.poisson(mean_raters - 1)) if mean_raters else 0
    raters = min(raters, SESSIONS - verdicts)
    voters = rng.choice(SESSIONS, size=raters + verdicts, replace=False, p=shares)
    moods = rng.normal(0, MOOD_WIDTH, raters + verdicts)
    hours = np.sort(rng.gamma(1.2, 20.0, raters + verdicts))
    return tuple(
        Vote(
            session=names[voter],
            stars=stars_of(appeal + biases[voter] + moods[place]) if place < raters else None,
            hours_later=float(hours[place]),
        )
        for place, voter in enumerate(voters)
    )
