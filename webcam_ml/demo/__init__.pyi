from ._command import add_demo_data_command
from ._database import DemoDatabaseError
from ._difficulty import Difficulty, difficulty
from ._make import DemoFolderError, DemoSummary, make_demo_data
from ._options import DemoOptions

__all__ = [
    "DemoDatabaseError",
    "DemoFolderError",
    "DemoOptions",
    "DemoSummary",
    "Difficulty",
    "add_demo_data_command",
    "difficulty",
    "make_demo_data",
]
