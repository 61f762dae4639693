"""`webcam-ml evaluate`. What it runs is imported when it runs: other commands stay quick."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from webcam_ml.errors import WebcamMLError
from webcam_ml.store import STORE_VARIABLE, ArtifactMissingError, ArtifactStore

if TYPE_CHECKING:
    from webcam_ml.dataset import Manifest
    from webcam_ml.dataset.images import ImageIndex
    from webcam_ml.foreign._evaluate import ForeignReport


def add_evaluate_command(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> None:
    """Define `evaluate`; its `run` takes the parsed arguments and returns the exit code."""
    parser = subparsers.add_parser(
        "evaluate",
        help="say where a model that was made elsewhere stands, by its scores",
        description="Measure somebody's scores on the validation and test rows as eval_report does, "
        "with intervals and slices, and say what the gates make of them. The model must not have "
        "learned from these webcams; nobody can check that here. The report is of a foreign model: "
        "it promotes nothing.",
    )
    parser.add_argument(
        "--predictions",
        type=Path,
        required=True,
        metavar="FILE",
        help="CSV with the columns snapshot_id and score (0-1); scores of all val and test rows",
    )
    parser.add_argument(
        "--manifest",
        type=Path,
        metavar="FILE",
        help="a manifest_full.csv with its export_meta.json and snapshot_details.csv beside it; by "
        f"default the latest one in the store that {STORE_VARIABLE} names, and without one the "
        "labels of the database that DATABASE_URL names, at the default settings",
    )
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="where report and plots go, new or empty (default: FILE without its ending, and "
        "-report)",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from webcam_ml.foreign._evaluate import evaluate_predictions
    from webcam_ml.foreign._predictions import ForeignPredictions
    from webcam_ml.live import live_on_test

    path: Path = arguments.predictions
    folder: Path = arguments.to or path.with_name(f"{path.stem}-report")
    store = ArtifactStore.from_env()
    if folder.resolve().is_relative_to(store.root.resolve()):
        raise WebcamMLError(
            f"{folder} is in the artifact store, which holds only what the graph made: name a "
            "folder elsewhere with --to"
        )
    predictions = ForeignPredictions.read(path)
    manifest, where = _manifest(arguments.manifest, store)
    found = evaluate_predictions(
        predictions,
        manifest,
        index=_index(store),
        live=live_on_test(store, manifest.meta.target_type),
    )
    found.save(folder)
    print(f"Foreign model: {path}, on the labels of {where}")
    for line in _lines(found):
        print(line)
    print(f"Report and plots: {folder}")
    return 0


def _index(store: ArtifactStore) -> "ImageIndex | None":
    from webcam_ml.dataset.images import ImageIndex

    try:
        return store.latest("image_index").load(ImageIndex)
    except ArtifactMissingError:
        return None


def _manifest(given: Path | None, store: ArtifactStore) -> "tuple[Manifest, str]":
    from webcam_ml.dataset import Manifest, build_manifest
    from webcam_ml.labels import LabelDatabase, LabelQuery, read_labels

    if given is not None:
        beside = [given.with_name(name) for name in ("export_meta.json", "snapshot_details.csv")]
        for path in (given, *beside):
            if not path.is_file():
                raise WebcamMLError(
                    f"{path} is not there. A manifest is three files in one folder, as in "
                    "artifacts/manifest_full/<version>/: manifest_full.csv, "
                    f"{' and '.join(one.name for one in beside)}"
                )
        return Manifest.read(given), str(given)
    try:
        stored = store.latest("manifest_full")
    except ArtifactMissingError:
        labels = read_labels(LabelDatabase.from_env(), LabelQuery())
        return build_manifest(labels), "the label database, at the default settings"
    return stored.load(Manifest), stored.address


def _lines(found: "ForeignReport") -> Iterator[str]:
    from webcam_ml.contracts import target_of
    from webcam_ml.summary import headlines, with_interval

    counts = found.counts
    yield f"Scores: {counts['val']:,} of val rows, {counts['test']:,} of test rows"
    for name, what in (
        ("train", "of train rows, not looked at"),
        ("unknown", "of snapshots that the manifest does not know, not looked at"),
    ):
        if counts[name]:
            yield f"  {counts[name]:,} {what}"
    document = found.report.document.model_dump(mode="json")
    yield from headlines(document)
    primary = target_of(document["target_type"]).primary_metric
    for part in document["slices"]:
        value = with_interval(part["metrics"][primary]) if primary in part["metrics"] else "–"
        yield f"  {part['by']} {part['group']}: {primary} {value}, {part['rows']:,} rows" + (
            "  WEAK" if part["weak"] else ""
        )
    for name, verdict in found.verdicts.items():
        yield f"{'yes' if verdict.passed else 'NO '}  {name}: {verdict.reason}"
    for name, why in found.not_asked.items():
        yield f"–    {name}: not asked, {why}"
    yield (
        "A report on a foreign model, which promotes nothing: what goes live is made by the graph "
        "(docs/extending.md)"
    )
