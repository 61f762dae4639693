"""`webcam-ml …`: the commands beside the graph. Each package defines its own; all are joined."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence

from webcam_ml import __version__
from webcam_ml.changes import add_compare_command
from webcam_ml.demo import add_demo_data_command
from webcam_ml.errors import WebcamMLError
from webcam_ml.foreign import add_evaluate_command
from webcam_ml.live import add_release_commands
from webcam_ml.project import add_init_command
from webcam_ml.review import add_review_commands
from webcam_ml.scoring import add_score_command
from webcam_ml.summary import add_summary_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: What follows `webcam-ml`; by default the process's own.

    Returns:
        Exit code: 0, 1 if something could not be done, 2 if the arguments make no sense.
    """
    parser = argparse.ArgumentParser(
        prog="webcam-ml",
        description="From star ratings of webcam snapshots to an ONNX sunset scorer. The graph itself "
        "is run by dagster: dagster asset materialize -m webcam_ml.definitions --select '*'.",
    )
    parser.add_argument("--version", action="version", version=f"webcam-ml {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is being done")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    add_init_command(subparsers)
    add_demo_data_command(subparsers)
    add_score_command(subparsers, fetch=_fetch)
    add_summary_command(subparsers)
    add_evaluate_command(subparsers)
    add_compare_command(subparsers)
    add_release_commands(subparsers)
    add_review_commands(subparsers)
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="%(levelname)s %(message)s",
    )
    # Where there is no terminal for a bar, its lines are all that shows that the work goes on.
    logging.getLogger("webcam_ml.progress").setLevel(logging.INFO)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        code = run(options)
        sys.stdout.flush()
    except WebcamMLError as error:
        print(f"webcam-ml: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # `head` and its like have read enough. What is left is not to be tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _fetch(url: str) -> bytes:
    from webcam_ml.dataset.images import FetchSettings, ImageFetchError, fetch_bytes

    try:
        return fetch_bytes(url, FetchSettings())
    except ImageFetchError as error:
        if error.reason == "forbidden_address":
            raise WebcamMLError(
                "this is no address of the public internet, and only those are fetched from here; "
                "save the picture (curl -o picture.jpg URL) and score the file"
            ) from error
        raise


if __name__ == "__main__":
    sys.exit(main())
