"""`webcam-ml init`."""

import argparse
import shlex
from pathlib import Path


def add_init_command(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Define `webcam-ml init`.

    Args:
        subparsers: What `argparse.ArgumentParser.add_subparsers` returned.
    """
    parser = subparsers.add_parser(
        "init",
        help="lay out a project folder",
        description="Write dagster.yaml, workspace.yaml, env.sh, configs/ and a README.md that says "
        "what to do next. Nothing that is there is overwritten.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.set_defaults(run=_init)


def _init(arguments: argparse.Namespace) -> int:
    from webcam_ml.project._files import lay_out_project

    folder: Path = arguments.folder
    for path in lay_out_project(folder):
        print(path)
    print(f"\nNext: cd {shlex.quote(str(folder))} && cat README.md")
    return 0
