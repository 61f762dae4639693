"""`webcam-ml review` and `webcam-ml import-votes`.

What they run is imported when it runs: other commands stay quick.
"""

import argparse
import getpass
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from webcam_ml.errors import WebcamMLError
from webcam_ml.review._votes import LONGEST_CURATOR, is_curator
from webcam_ml.store import STORE_VARIABLE, ArtifactStore

if TYPE_CHECKING:
    from webcam_ml.labels import LabelDatabase
    from webcam_ml.review._import import Import
    from webcam_ml.review._wanted import Wanted

PORT = 8460
JOURNAL = Path("review-journal")
HIGHEST_PORT = 65_535
# Of 64 bits, as databases have them.
HIGHEST_ID = 2**63 - 1
CHANGES_SHOWN = 10


def add_review_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Define both commands; the `run` of each takes the parsed arguments and returns the exit code."""
    review = subparsers.add_parser(
        "review",
        help="rate pictures on a local page",
        description="Serve a page that shows one picture after the other and takes 1–5, or N for no "
        "sunset. Votes go into webcam_snapshot_ratings of the database that DATABASE_URL names, under "
        "the curator's name; until it has them they are kept in a journal on disk. By default the "
        f"newest rating_queue of the store is rated ({STORE_VARIABLE} names it, else artifacts).",
    )
    review.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="rate the snapshots of a CSV file with a column snapshot_id, in its order",
    )
    review.add_argument(
        "--relabel",
        action="store_true",
        help="rate the relabel queue of the newest disagreement_report again",
    )
    review.add_argument(
        "--conflicts",
        action="store_true",
        help="rate where people and judges differ most, as the newest rating_queue lists it",
    )
    review.add_argument(
        "--webcam", type=_id, metavar="ID", help="rate all snapshots of a webcam, the newest first"
    )
    review.add_argument("--ids", type=_id, nargs="+", metavar="ID", help="rate these snapshots")
    review.add_argument(
        "--gold",
        action="store_true",
        help="write the curator's gold (manual_labels) instead of ratings",
    )
    review.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="write votes into this CSV file and not into a database; `webcam-ml import-votes` brings "
        "them there. Without DATABASE_URL, the list to rate needs a column image_path_or_url",
    )
    _add_curator(
        review,
        help="whose votes these are: the user_session_id in the database (default: your log-in name)",
    )
    review.add_argument(
        "--port",
        type=_port,
        default=PORT,
        help="of 127.0.0.1, where the page is (default: %(default)s); 0 for any that is free",
    )
    review.add_argument(
        "--journal",
        type=Path,
        default=JOURNAL,
        metavar="FOLDER",
        help="where votes are kept until the database has them (default: %(default)s)",
    )
    review.set_defaults(run=_review)

    importing = subparsers.add_parser(
        "import-votes",
        help="bring votes from a file into the database",
        description="Say what the votes of a file would change in the database that DATABASE_URL names, "
        "and change it with --apply: all of it in one transaction, or nothing. Importing twice is "
        "importing once.",
    )
    importing.add_argument(
        "file", type=Path, metavar="FILE", help="what `webcam-ml review --export` wrote"
    )
    importing.add_argument("--apply", action="store_true", help="write; without it nothing is")
    importing.add_argument(
        "--gold", action="store_true", help="as the curator's gold (manual_labels)"
    )
    _add_curator(importing, help="whose votes they all are, whatever the file says")
    importing.set_defaults(run=_import)


def _add_curator(parser: argparse.ArgumentParser, *, help: str) -> None:
    parser.add_argument("--curator", type=_curator, metavar="NAME", help=help)


def _curator(text: str) -> str:
    name = text.strip()
    if not is_curator(name):
        raise argparse.ArgumentTypeError(
            f"a name has 1 to {LONGEST_CURATOR} characters that can be printed"
        )
    return name


def _id(text: str) -> int:
    return _whole(text, highest=HIGHEST_ID)


def _port(text: str) -> int:
    return _whole(text, highest=HIGHEST_PORT)


def _whole(text: str, *, highest: int) -> int:
    if not re.fullmatch("[0-9]{1,19}", text) or int(text) > highest:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to {highest}")
    return int(text)


def _review(arguments: argparse.Namespace) -> int:
    from webcam_ml.review._serve import Review, serve

    if arguments.gold and arguments.export:
        raise WebcamMLError(
            "--gold is not said with --export, but where the file is imported: "
            "webcam-ml import-votes FILE --gold"
        )
    lists = [
        arguments.file,
        arguments.relabel,
        arguments.conflicts,
        arguments.webcam,
        arguments.ids,
    ]
    if sum(one is not None and one is not False for one in lists) > 1:
        raise WebcamMLError(
            "name one list to rate: a FILE, --relabel, --conflicts, --webcam or --ids"
        )
    curator = arguments.curator or getpass.getuser()
    database = _database(arguments.export)
    store = ArtifactStore.from_env()
    wanted = _wanted(arguments, curator=curator, database=database, store=store)
    # As Ctrl-C: what waits is written before the end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        serve(
            wanted,
            Review(curator, arguments.gold, arguments.export, arguments.port, arguments.journal),
            database=database,
            store=store,
            say=lambda line: print(line, flush=True),
        )
    except KeyboardInterrupt:
        return 0
    return 0


def _database(export: Path | None) -> "LabelDatabase | None":
    from webcam_ml.labels import LabelDatabase

    if export is not None and not os.environ.get("DATABASE_URL", "").strip():
        return None
    return LabelDatabase.from_env()


def _wanted(
    arguments: argparse.Namespace,
    *,
    curator: str,
    database: "LabelDatabase | None",
    store: ArtifactStore,
) -> "Wanted":
    from webcam_ml.review import _wanted as lists

    ids: Sequence[int] | None = arguments.ids
    if arguments.webcam is not None or ids is not None:
        if database is None:
            raise WebcamMLError("--webcam and --ids need DATABASE_URL, to look for the pictures")
        if ids is not None:
            return lists.from_ids(ids, curator=curator)
        return lists.from_webcam(database, arguments.webcam, curator=curator)
    if arguments.file is not None:
        wanted = lists.from_file(arguments.file, curator=curator)
    elif arguments.relabel:
        wanted = lists.from_relabel_queue(store)
    elif arguments.conflicts:
        wanted = lists.from_judge_conflicts(store)
    else:
        wanted = lists.from_rating_queue(store)
    if database is None and not wanted.images:
        raise WebcamMLError(
            f"{wanted.what} does not say where the pictures are (it has no column image_path_or_url): "
            "set DATABASE_URL, a role that may only read is enough"
        )
    return wanted


def _import(arguments: argparse.Namespace) -> int:
    from webcam_ml.labels import LabelDatabase
    from webcam_ml.review._import import import_votes

    database = LabelDatabase.from_env()
    found = import_votes(
        arguments.file,
        database,
        curator=arguments.curator,
        gold=arguments.gold,
        apply=arguments.apply,
    )
    for line in _lines(found, applied=arguments.apply):
        print(line)
    return 0


def _lines(found: "Import", *, applied: bool) -> list[str]:
    from webcam_ml.review._import import said

    changes = [
        f"  snapshot {vote.snapshot_id}, {vote.curator}: {said(row)} → {vote.vote}"
        for row, vote in found.changed
    ]
    more = len(changes) - CHANGES_SHOWN
    return [
        f"{len(found.new):,} new, {len(found.changed):,} changed, {found.unchanged:,} as they are",
        *changes[:CHANGES_SHOWN],
        *([f"  and {more:,} more"] if more > 0 else []),
        "Written." if applied else "Nothing was written; --apply does it.",
    ]
