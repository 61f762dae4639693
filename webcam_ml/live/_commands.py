"""`webcam-ml history | rollback | promote | verify | lineage | prune | copy-store | pull`.

Each command imports what it runs: naming the commands must not slow `webcam-ml score` down.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from webcam_ml.contracts import TARGETS
from webcam_ml.errors import WebcamMLError
from webcam_ml.store import STORE_VARIABLE, ArtifactStore, bucket_from_env, open_bucket

if TYPE_CHECKING:
    from webcam_ml.live._judged import Refusal
    from webcam_ml.live._ledger import LedgerEntry

Run = Callable[[argparse.Namespace], int]

BUCKET_ADDRESS = "s3://BUCKET/PREFIX"
SECONDS_BETWEEN_PULLS = 30


def add_release_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Define the commands; the `run` of each takes the parsed arguments and returns the exit code.

    Args:
        subparsers: What `argparse.ArgumentParser.add_subparsers` returned.
    """

    def add(name: str, run: Run, *, help: str, description: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = subparsers.add_parser(
            name,
            help=help,
            description=f"{description} The store is what {STORE_VARIABLE} names, else the folder "
            "artifacts.",
        )
        parser.set_defaults(run=run)
        return parser

    add(
        "history",
        _history,
        help="list every promotion, roll-back and refusal",
        description="Print the ledger and the candidates that were refused, the oldest first, and "
        "what is live now.",
    )
    back = add(
        "rollback",
        _rollback,
        help="make an earlier model live again",
        description="Make the model before the live one live again, or the one that --to names. "
        "What is left behind returns only by `promote VERSION --override REASON`.",
    )
    back.add_argument("--to", metavar="VERSION", help="a version that was live")
    back.add_argument(
        "--target-type",
        choices=list(TARGETS),
        help="needed if both have a live model and --to is not given",
    )
    back.add_argument("--reason", metavar="TEXT", help="for the ledger")
    forward = add(
        "promote",
        _promote,
        help="make a model live against the gates, with a reason",
        description="Make a stored or earlier model live although the gates do not say so. The "
        "ledger records it as an override, with the reason and what the gates say. Models that "
        "pass go live by materializing production_model.",
    )
    forward.add_argument("version", metavar="VERSION")
    forward.add_argument("--override", metavar="REASON", required=True, help="one line")
    verifying = add(
        "verify",
        _verify,
        help="prove that what is live is what was decided",
        description="Check ledger, links, live files, the files that they were made from down to "
        "the labels, and judge the evidence again. Offline, reads only; exit code 1 and a line for "
        "each file if something is wrong.",
    )
    verifying.add_argument(
        "--head",
        metavar="FILE",
        type=Path,
        help="a copy of ledger.head that was kept elsewhere: the ledger must have grown from it",
    )
    add(
        "lineage",
        _lineage,
        help="show what the live models were made from",
        description="Draw the ancestry of each live model as a tree.",
    )
    pruning = add(
        "prune",
        _prune,
        help="free old versions that nothing live depends on",
        description="List versions that are neither the latest nor in the lineage of anything in "
        "the ledger; with --yes, delete them. Not while something is being materialized.",
    )
    pruning.add_argument("--yes", action="store_true", help="delete; else only say what would go")
    copying = add(
        "copy-store",
        _copy_store,
        help="copy the store to another folder or bucket, and verify what arrived",
        description="Copy every version, what is live and its history. What is there already is not "
        "copied again, and a destination with another history is refused.",
    )
    copying.add_argument(
        "destination", metavar="DESTINATION", help=f"a folder, or {BUCKET_ADDRESS}"
    )
    pulling = add(
        "pull",
        _pull,
        help="bring the live models into a folder, where an application runs",
        description="Fetch what is live, verify it, and let FOLDER/production/TYPE/model.onnx lead to "
        "it by one rename.",
    )
    pulling.add_argument("folder", metavar="FOLDER", type=Path, help="of its own, not the store's")
    pulling.add_argument(
        "--target-type", choices=list(TARGETS), action="append", default=[], help="by default all"
    )
    pulling.add_argument(
        "--watch",
        action="store_true",
        help=f"look again every {SECONDS_BETWEEN_PULLS} seconds, for ever",
    )


def _store() -> ArtifactStore:
    store = ArtifactStore.from_env()
    if not store.exists():
        raise WebcamMLError(
            f"there is no artifact store at {store.address}. Run this in the project's folder, or let "
            f"{STORE_VARIABLE} name the store"
        )
    return store


def _history(_: argparse.Namespace) -> int:
    from webcam_ml.live._judged import read_refusals
    from webcam_ml.live._layout import live_link, production_folder
    from webcam_ml.live._production import current_ledger
    from webcam_ml.printable import printable

    store = _store()
    ledger = current_ledger(store)
    refusals = read_refusals(production_folder(store))
    lines_by_time = sorted(
        [
            *((entry.time, list(_lines_of(entry))) for entry in ledger.entries),
            *((refusal.time, list(_lines_of_refusal(refusal))) for refusal in refusals),
        ]
    )
    for line in (line for _, lines in lines_by_time for line in lines):
        print(printable(line))
    if not ledger.entries:
        print(f"{store.address} has no live model: no model was ever live.")
        return 0
    for target_type in sorted({entry.target_type for entry in ledger.entries}):
        live = ledger.live(target_type)
        if live is not None:
            print(f"live for {target_type}: {live.version} ({live_link(store, target_type)})")
    _say_both(store)
    if ledger.interrupted:
        print("The last promotion was interrupted; the next promotion or roll-back completes it.")
    return 0


def _lines_of(entry: "LedgerEntry") -> Iterator[str]:
    instead = f" instead of {entry.replaces}" if entry.replaces else ""
    yield f"{entry.sequence:>4}  {entry.time[:19]}Z  {entry.action:<8}  {entry.version}{instead}"
    if entry.reason:
        yield f"      reason: {entry.reason}"
    if entry.relaxed:
        yield f"      RELAXED, judged by less than usual or before: {entry.relaxed}"
    if entry.lost:
        yield f"      the history before is gone; these were live: {', '.join(entry.lost)}"
    for name, verdict in entry.verdicts.items():
        if name in ("quality_floor", "not_worse_than_champion") or not verdict.passed:
            yield f"      {name}: {'yes' if verdict.passed else 'NO'}. {verdict.reason}"
    count = entry.candidates_judged_on_test_split
    if count is not None and count > 1:
        yield f"      {count} models were judged on this test split until then"


def _lines_of_refusal(refusal: "Refusal") -> Iterator[str]:
    live = f" ({refusal.live or 'nothing'} stays live)"
    if refusal.lost:
        yield f"   –  some of the {refusal.lost} refusals before are lost"
    yield f"   –  {refusal.time[:19]}Z  refused   {refusal.version}{live}"
    for name, verdict in refusal.verdicts.items():
        yield f"      {name}: NO. {verdict.reason}"
    if not refusal.verdicts:
        yield f"      {refusal.reason}"


def _say_both(store: ArtifactStore) -> None:
    from webcam_ml.live._both import both_heads

    sentence = both_heads(store)
    if sentence is not None:
        print(sentence)


def _rollback(arguments: argparse.Namespace) -> int:
    from webcam_ml.live._announce import announce
    from webcam_ml.live._promotion import rollback

    store = _store()
    entry = rollback(
        store, to=arguments.to, target_type=arguments.target_type, reason=arguments.reason
    )
    print(f"{entry.version} is live again, instead of {entry.replaces}")
    _say_both(store)
    announce(entry, store)
    return 0


def _promote(arguments: argparse.Namespace) -> int:
    from webcam_ml.live._announce import announce
    from webcam_ml.live._promotion import promote_override

    store = _store()
    entry = promote_override(store, arguments.version, reason=arguments.override)
    print(f"{entry.version} is live by override; the ledger says why")
    _say_both(store)
    for name, verdict in entry.verdicts.items():
        if not verdict.passed:
            print(f"against {name}: {verdict.reason}")
    if not entry.verdicts:
        print("no evidence compares it with what was live, so nothing was recorded of the gates")
    announce(entry, store)
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from webcam_ml.live._production import current_ledger
    from webcam_ml.live._verify import verify

    store = _store()
    problems = verify(store, head=arguments.head)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        return 1
    entries = current_ledger(store).entries
    compared = " It has grown from the copy of its head." if arguments.head else ""
    print(
        f"verified: the ledger ({len(entries)} entries), the count of judged candidates, what is "
        f"live, and all that it was made from down to the labels.{compared}"
        if entries
        else f"{store.address} has no live model, so there is nothing to verify"
    )
    return 0


def _lineage(_: argparse.Namespace) -> int:
    from webcam_ml.live._lineage_tree import lineage_tree

    print(lineage_tree(_store()))
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    from webcam_ml.live._prune import prune

    store = _store()
    freed = prune(store, dry_run=not arguments.yes)
    for one in freed:
        print(f"{one.size / 1e6:>10.1f} MB  {one.shown}")
    total = sum(one.size for one in freed) / 1e6
    if arguments.yes:
        print(f"freed {total:.1f} MB in {len(freed)} versions")
    else:
        print(f"{total:.1f} MB in {len(freed)} versions could be freed: webcam-ml prune --yes")
    return 0


def _copy_store(arguments: argparse.Namespace) -> int:
    from webcam_ml.live._copy import copy_store

    destination = open_bucket(arguments.destination)
    copied = copy_store(bucket_from_env(), destination)
    for problem in copied.left_out:
        print(f"left out: {problem}", file=sys.stderr)
    print(
        f"{destination.address} has what is stored: {copied.versions} versions were new, and "
        f"{copied.size / 1e6:.1f} MB in {copied.files} files arrived as they were sent"
    )
    return 1 if copied.left_out else 0


def _pull(arguments: argparse.Namespace) -> int:
    from webcam_ml.export import MODEL_FILE
    from webcam_ml.live._copy import pull

    source = bucket_from_env()
    links: dict[str, Path] = {}
    seen: dict[str, str] = {}
    while True:
        try:
            links = pull(source, arguments.folder, target_types=arguments.target_type)
        except WebcamMLError as error:
            # What was pulled stays in use: an application outlives a store that is away for a while.
            if not (links and arguments.watch):
                raise
            print(f"webcam-ml: {error}", file=sys.stderr, flush=True)
        for name, link in links.items():
            version = link.readlink().name
            if seen.get(name) != version:
                print(f"{name}: {version} ({link / MODEL_FILE})", flush=True)
                seen[name] = version
        if not arguments.watch:
            return 0
        time.sleep(SECONDS_BETWEEN_PULLS)
