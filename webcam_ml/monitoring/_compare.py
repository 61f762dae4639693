"""Whether stored scores are those of a model, and what explains them if not: numbers in, verdicts out.

Limits and rates are those that docs/monitoring.md measures; `benchmarks.audit` measures them anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

Scores = npt.NDArray[np.float64]

FLOOR = 0.01
"""A difference of raw scores that nobody sees: four hundredths of a star. Stored decimals are in it."""
NOISE_FACTOR = 4.0
"""How many times further than by benign copies of its picture a score may move before it differs."""
NOISE_RATE = 1e-3
"""More than the share of honest rows that differ by this limit; measured, see docs/monitoring.md."""

LARGEST_CHANCE = 1e-4
"""Scores are of another making if so many rows differ by chance in fewer audits than this."""
LARGEST_CHANCE_OF_REASON = 1e-3
EDGE = 1e-4
SIMPLER = 1.25
SMALLEST_GAP = 0.002
"""Two models whose scores are closer than this cannot be told apart by scores."""


@dataclass(frozen=True)
class Demand:
    """What is asked of an explanation.

    Attributes:
        chance: It is this good by chance in fewer audits.
        remainder: It leaves this share of the median difference at most.
    """

    chance: float
    remainder: float


CLEARLY_DIFFERENT = Demand(LARGEST_CHANCE_OF_REASON, 0.5)
WITHIN_NOISE = Demand(1e-4, 0.2)
"""Where a copy of the pictures could make such a difference, too."""


@dataclass(frozen=True)
class Explanation:
    """What explains differences.

    Attributes:
        name: Which of the guesses.
        rows: How many rows it is nearer to than the model.
        of: Among how many that can tell the two apart.
        p_value: Of a sign test, times the number of guesses.
        remainder: Median difference that is left, as a share of the one to be explained.
    """

    name: tuple[str, ...]
    rows: int
    of: int
    p_value: float
    remainder: float


def noise_of(own: Scores, copies: Scores) -> Scores:
    """Say how far each score may move by what is nobody's mistake.

    The furthest of its own copies; but few copies may agree by luck, so at least as far as copies of all
    pictures do on average, on the logit scale, where a model is as steep for one picture as for another.

    Args:
        own: Scores of the pictures, [rows].
        copies: Scores of their benign copies, [copies, rows].
    """
    usual = np.sqrt(np.mean((_logit(copies) - _logit(own)) ** 2))
    furthest: Scores = np.maximum(np.abs(copies - own).max(axis=0), usual * own * (1 - own))
    return furthest


def _logit(scores: Scores) -> Scores:
    inside = np.clip(scores, EDGE, 1 - EDGE)
    odds: Scores = np.log(inside / (1 - inside))
    return odds


def differs(stored: Scores, own: Scores, noise: Scores) -> npt.NDArray[np.bool_]:
    """Say which stored scores are not the model's.

    Args:
        stored: What the application stored, [rows].
        own: What the file says of the same pictures, [rows].
        noise: How far they may move, see `noise_of`, [rows].
    """
    return np.abs(stored - own) > FLOOR + NOISE_FACTOR * noise


def demanded(stored: Scores, own: Scores, noise: Scores) -> Demand | None:
    """Say what an explanation of scores is asked that are moved as a whole; None if they are not.

    Each may be moved by no more than noise could. Then a reason is looked for, and only one that explains
    them is a finding, for copies move scores, too.
    """
    moved = np.median(np.abs(stored - own))
    if moved > FLOOR + np.median(noise):
        return CLEARLY_DIFFERENT
    return WITHIN_NOISE if moved > FLOOR else None


def chance_of(differing: int, rows: int) -> float:
    """Give the probability that so many of the rows of an honest application differ, or more."""
    return float(binom.sf(differing - 1, rows, NOISE_RATE))


def explain(
    stored: Scores,
    own: Scores,
    guesses: Mapping[tuple[str, ...], Scores],
    *,
    attempts: int = 1,
    demand: Demand = CLEARLY_DIFFERENT,
) -> Explanation | None:
    """Find the guess that comes closest to what is stored, if it comes clearly closer than the model.

    A sign test over the rows on which guess and model differ: is the guess nearer more often than every
    other time? Of two that explain about the same the one with fewer parts is named.

    Args:
        stored: What the application stored, [rows].
        own: What the file says, [rows].
        guesses: What would be stored if the guess were true, [rows] each.
        attempts: How often this is asked of the same scores.
        demand: What an explanation has to do; chances count all guesses and attempts.

    Returns:
        None if none does.
    """
    found: list[Explanation] = []
    for name, guess in guesses.items():
        # A square picture is cropped to itself: such a row says nothing of the guess.
        telling = np.abs(guess - own) > SMALLEST_GAP
        before, after = (np.abs(stored - scores)[telling] for scores in (own, guess))
        nearer = int((after < before).sum())
        by_chance = float(binom.sf(nearer - 1, len(before), 0.5))
        chance = min(1.0, attempts * len(guesses) * by_chance)
        if chance < demand.chance:
            remainder = float(np.median(after) / np.median(before))
            if remainder <= demand.remainder:
                found.append(Explanation(name, nearer, len(before), chance, remainder))
    if not found:
        return None
    best = min(one.remainder for one in found)
    as_good = [one for one in found if one.remainder <= max(best * SIMPLER, best + FLOOR)]
    return min(as_good, key=lambda one: (len(one.name), one.remainder))


def explain_by_model(
    stored: Scores, own: Scores, others: Mapping[str, Scores]
) -> Explanation | None:
    """Find another model that gave the scores; one that scores alike cannot be told apart."""
    apart: dict[tuple[str, ...], Scores] = {
        (name,): scores
        for name, scores in others.items()
        if np.median(np.abs(scores - own)) > SMALLEST_GAP
    }
    return explain(stored, own, apart)


def hits(stored: Scores, guess: Sequence[float] | Scores) -> npt.NDArray[np.bool_]:
    """Say which scores are a guess to the rounding of what is stored."""
    near: npt.NDArray[np.bool_] = np.abs(stored - np.asarray(guess)) < SMALLEST_GAP
    return near


def chance_of_hits(number: int, rows: int) -> float:
    """Give the probability of so many hits where scores lie anywhere; one in twenty is generous."""
    return float(binom.sf(number - 1, rows, 0.05))
