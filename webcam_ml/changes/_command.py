"""`webcam-ml compare`. What it runs is imported when it runs: other commands stay quick."""

import argparse
from pathlib import Path

from webcam_ml.errors import WebcamMLError
from webcam_ml.store import STORE_VARIABLE, ArtifactStore, cache_from_env, write_atomically


def add_compare_command(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Define `compare`; its `run` takes the parsed arguments and returns the exit code."""
    parser = subparsers.add_parser(
        "compare",
        help="show what changed between two stored models",
        description="Make a page of one file: which labels are new, gone or moved, which test pictures "
        "the newer model judges otherwise, metrics of both on the same rows, settings and judges that "
        "differ. Nothing is promoted, and nothing is counted as judged: whoever chooses models by "
        f"looking at test is lucky sooner or later. The store is what {STORE_VARIABLE} names, else the "
        "folder artifacts.",
    )
    parser.add_argument("older", metavar="VERSION", help="the model_version to start from")
    parser.add_argument("newer", metavar="VERSION", help="the one to compare with it")
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FILE",
        help="where the page goes (default: what_changed-OLDER-NEWER.html here)",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from webcam_ml.changes._pages import compare_models
    from webcam_ml.dataset.images import ImageCache

    store = ArtifactStore.from_env()
    older, newer = arguments.older, arguments.newer
    page = compare_models(
        older, newer, store=store, images=ImageCache(cache_from_env(), remote=store.remote)
    )
    path: Path = arguments.to or Path(f"what_changed-{older}-{newer}.html")
    if path.resolve().is_relative_to(store.root.resolve()):
        raise WebcamMLError(
            f"{path} is in the artifact store, which holds only what the graph made: name a file "
            "elsewhere with --to"
        )
    try:
        write_atomically(path, page.encode())
    except OSError as error:
        raise WebcamMLError(f"the page could not be written to {path}: {error}") from error
    print(f"What changed from {older} to {newer}: {path}")
    return 0
