"""The language models: what each says of a snapshot, on a scale of its own.

Fitted to the 3,224 snapshots of 406 training webcams that people and one language model really
judged (``docs/labels.md``): stars for each score, how far they scatter, how much of that is the
webcam's, how many scores are 0. Real (drawn), the drawn from 36,000 snapshots of 40 seeds with 1.02
ratings each:

======  ===========  ============  ============
score   share        mean stars    variance
======  ===========  ============  ============
0       .58          1.22 (1.27)   .44 (.51)
.25     .03          2.18 (1.77)   1.49 (1.43)
.35     .09          2.32 (2.15)   1.72 (2.02)
.45     .18          2.98 (2.95)   2.00 (2.36)
.55     .05          3.84 (3.29)   1.43 (2.06)
.65     .04          3.44 (3.41)   2.21 (2.06)
.75     .04          3.28 (3.58)   2.79 (1.91)
======  ===========  ============  ============

Of the variance around the mean, the webcam's are 24 % (17 %); AUC of 4 stars .86 (.85), rank
correlation .66 (.60).
"""

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from webcam_ml.demo._options import Stream, random_stream
from webcam_ml.demo._plan import Shows, Snapshot

# Whether something happens in the sky a judge sees well, how fine it is hardly at all: what it
# perceives climbs from 0 to 1 within some hundredths of beauty, and stays there.
EVENT_AT = 0.25
EVENT_WIDTH = 0.03
# Standard deviations, where the whole climb is 1: a camera pleases a judge more or less, always.
CAMERA_EFFECT = 0.26
MOOD = 0.05
# A well composed photograph pleases it more than any webcam.
COMPOSITION = 0.35

# One snapshot in so many was judged by nobody, or by the model that was in use before.
NOBODY_EVERY = 20
FORMER_EVERY = 9


@dataclass(frozen=True)
class Judge:
    """A language model.

    Attributes:
        model: Its name.
        provider: Who runs it.
        cuts: Perceived quality from which each score but the lowest is given.
        scores: What it says.
    """

    model: str
    provider: str
    cuts: tuple[float, ...]
    scores: tuple[float, ...]


TODAYS = Judge(
    model="vista-2-large",
    provider="example",
    cuts=(0.502, 0.559, 0.716, 1.037, 1.153, 1.283),
    scores=(0.0, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75),
)
# Finds everything fair: its scores are other stars than those of the one that followed it.
FORMER = Judge(
    model="vista-1",
    provider="example",
    cuts=(0.2, 0.45, 0.7, 0.95, 1.15),
    scores=(0.3, 0.5, 0.6, 0.7, 0.8, 0.9),
)


@dataclass(frozen=True)
class Judgement:
    """What a language model said of one picture."""

    judge: Judge
    score: float
    confidence: float


def judge_snapshot(seed: int, snapshot: Snapshot) -> Judgement | None:
    """Draw what the language model of the day says of a snapshot; None if it was not asked."""
    if snapshot.id % NOBODY_EVERY == 0:
        return None
    return said_by(seed, FORMER if snapshot.id % FORMER_EVERY == 0 else TODAYS, snapshot)


def said_by(seed: int, judge: Judge, snapshot: Snapshot) -> Judgement:
    """Draw what a language model says of a snapshot."""
    effect = random_stream(seed, Stream.JUDGE_AND_CAMERA, _number(judge), snapshot.scene.index)
    return _judged(seed, judge, snapshot, liking=float(effect.normal(0, CAMERA_EFFECT)))


def judge_photograph(seed: int, photograph: Snapshot) -> Judgement:
    """Draw what the language model of the day says of a picture from elsewhere."""
    return _judged(seed, TODAYS, photograph, liking=COMPOSITION)


def _judged(seed: int, judge: Judge, snapshot: Snapshot, *, liking: float) -> Judgement:
    rng = random_stream(seed, Stream.JUDGE, _number(judge), snapshot.id)
    mood, doubt = float(rng.normal(0, MOOD)), float(rng.random())
    event = float(1 / (1 + np.exp(-(snapshot.beauty - EVENT_AT) / EVENT_WIDTH)))
    seen = event + liking + mood
    score = judge.scores[
        0 if snapshot.shows is Shows.OFFLINE_CARD else bisect_right(judge.cuts, seen)
    ]
    return Judgement(judge, score, confidence=round(0.95 - 0.3 * doubt, 2))


def _number(judge: Judge) -> int:
    return (TODAYS, FORMER).index(judge)
