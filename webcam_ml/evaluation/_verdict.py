"""The answer of a check or a gate: passed or not, why, and the numbers behind it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """What a pure function of stored evidence concluded.

    Attributes:
        passed: Whether the condition holds.
        reason: One sentence for a person: what was found and, if it failed, what is missing.
        numbers: The values that were judged and the limits that they were judged by.
    """

    passed: bool
    reason: str
    numbers: Mapping[str, float | int | str | None]
