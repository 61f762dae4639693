"""Synthetic webcams: a label database and pictures, made on the spot.

`make_demo_data` does it all. The plan of snapshots (who photographs when, in what weather, and what
people say to it) stands apart from the drawing, so that labels can be studied without pictures.
"""

from webcam_ml.demo._command import add_demo_data_command
from webcam_ml.demo._database import DemoDatabaseError
from webcam_ml.demo._make import DemoFolderError, DemoSummary, make_demo_data
from webcam_ml.demo._options import DemoOptions

__all__ = [
    "DemoDatabaseError",
    "DemoFolderError",
    "DemoOptions",
    "DemoSummary",
    "add_demo_data_command",
    "make_demo_data",
]
