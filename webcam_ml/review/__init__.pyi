from ._command import add_review_commands
from ._import import Import, import_votes
from ._votes import RUBRIC, Vote

__all__ = [
    "RUBRIC",
    "Import",
    "Vote",
    "add_review_commands",
    "import_votes",
]
