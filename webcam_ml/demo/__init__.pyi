from ._command import add_demo_data_command
from ._difficulty import Difficulty, difficulty
from ._make import DemoSummary, make_demo_data
from ._options import DemoOptions

__all__ = [
    "DemoOptions",
    "DemoSummary",
    "Difficulty",
    "add_demo_data_command",
    "difficulty",
    "make_demo_data",
]
