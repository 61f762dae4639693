from ._command import add_demo_data_command
from ._difficulty import Difficulty, difficulty
from ._make import DemoSummary, make_demo_data
from ._options import DemoOptions
from ._renewal import is_demo_file, renew_average

__all__ = [
    "DemoOptions",
    "DemoSummary",
    "Difficulty",
    "add_demo_data_command",
    "difficulty",
    "is_demo_file",
    "make_demo_data",
    "renew_average",
]
