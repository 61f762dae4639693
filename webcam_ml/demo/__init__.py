"""Synthetic webcams: a label database and pictures, made on the spot.

`make_demo_data` does it all. The plan of snapshots (who photographs when, in what weather, and what
people say to it) stands apart from the drawing, so that labels can be studied without pictures.
`difficulty` says between which two scores a model belongs.
"""

from webcam_ml.demo._command import add_demo_data_command
from webcam_ml.demo._database import DemoDatabaseError
from webcam_ml.demo._difficulty import Difficulty, difficulty
from webcam_ml.demo._make import DemoFolderError, DemoSummary, make_demo_data
from webcam_ml.demo._options import DemoOptions

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
