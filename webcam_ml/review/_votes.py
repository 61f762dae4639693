"""What a curator can say of a frame: the rubric, and how a vote is written down."""

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias, cast

Vote: TypeAlias = Literal["1", "2", "3", "4", "5", "N"]

NO_SUNSET: Vote = "N"
LONGEST_CURATOR = 255
RUBRIC: Mapping[Vote, str] = {
    "1": "It happens and shows nothing",
    "2": "A trace of colour",
    "3": "Real colour, unremarkable",
    "4": "Vivid: one would stop and look",
    "5": "Spectacular, rare",
    "N": "No sunset event: day, night, indoors, lens fogged, sky hidden",
}


def parse_vote(text: str) -> Vote | None:
    """Read a vote; None for what is no vote.

    A spreadsheet may have made 4.0 or 4,00 of a 4.
    """
    whole = re.sub(r"[.,]0+$", "", text.strip().upper())
    return cast("Vote", whole) if whole in RUBRIC else None


def is_curator(name: str) -> bool:
    """Whether the database can take a name as `user_session_id`, and a line can show it."""
    return name.isprintable() and 0 < len(name.strip()) <= len(name) <= LONGEST_CURATOR


def stars_of(vote: Vote) -> int | None:
    """Give the stars of a vote; None where it says that there is no sunset."""
    return None if vote == NO_SUNSET else int(vote)
