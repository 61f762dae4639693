"""The files of a project folder, and `webcam-ml init`, which lays them out where there is no clone.

A clone of the repository is such a folder too: its dagster.yaml, workspace.yaml, env.sh and
configs/ are links to the files here.
"""

from webcam_ml.project._command import add_init_command
from webcam_ml.project._files import CONFIGS, lay_out_project

__all__ = ["CONFIGS", "add_init_command", "lay_out_project"]
