"""The curator's gold labels: careful verdicts that stand in a table of their own."""

from dataclasses import dataclass

from webcam_ml.demo._options import Stream, random_stream
from webcam_ml.demo._plan import Snapshot
from webcam_ml.demo._raters import CURATOR, stars_of

# Of the snapshots that the curator voted on, whose gold label says the same once more; and of those
# that nobody voted on.
REPEATED = 0.3
LOOKED_AT = 0.03
# Of the pictures from elsewhere.
OF_PHOTOGRAPHS = 0.6
# A second look is calm: a quarter of the mood of a vote.
CALM = 0.02


@dataclass(frozen=True)
class Gold:
    """A gold label: stars, or None where there is no sunset."""

    stars: int | None
    hours_later: float


def gold_of_snapshot(seed: int, snapshot: Snapshot) -> Gold | None:
    """Draw the gold label of a snapshot, if it has one."""
    rng = random_stream(seed, Stream.GOLD, snapshot.id)
    chance, calm = float(rng.random()), float(rng.normal(0, CALM))
    own = [vote for vote in snapshot.votes if vote.session == CURATOR]
    if own:
        # The application writes what the curator presses into both tables.
        return Gold(own[0].stars, own[0].hours_later) if chance < REPEATED else None
    if snapshot.votes or chance >= LOOKED_AT:
        return None
    return _calm_look(snapshot, calm)


def gold_of_photograph(seed: int, photograph: Snapshot) -> Gold | None:
    """Draw the gold label of a picture from elsewhere, if it has one."""
    rng = random_stream(seed, Stream.GOLD, photograph.id)
    chance, calm = float(rng.random()), float(rng.normal(0, CALM))
    return _calm_look(photograph, calm) if chance < OF_PHOTOGRAPHS else None


def _calm_look(snapshot: Snapshot, calm: float) -> Gold:
    return Gold(None if snapshot.no_event else stars_of(snapshot.beauty + calm), hours_later=30.0)
