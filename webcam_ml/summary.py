"""`webcam-ml summary`: what is in the artifact store now, in the words of someone who looks at it."""

import argparse
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from webcam_ml.contracts import Document, target_of
from webcam_ml.store import ArtifactMissingError, ArtifactStore, StoredArtifact

ORDER = (
    "labels_raw",
    "manifest_full",
    "manifest_train",
    "manifest_val",
    "manifest_test",
    "image_index",
    "checkpoint",
    "eval_report",
    "onnx_model",
    "disagreement_report",
    "rating_queue",
    "champion_comparison",
    "production_model",
    "served_scores_audit",
)


def add_summary_command(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> None:
    """Define `summary`; its `run` takes the parsed arguments and returns the exit code."""
    parser = subparsers.add_parser(
        "summary",
        help="say what the latest artifacts hold and where they are",
        description="Counts, test metrics, files and next steps, from the latest version of each asset.",
    )
    parser.add_argument(
        "--since",
        type=int,
        metavar="SECONDS",
        help="time as of `date +%%s`; versions made before it are called unchanged",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print which model asks and which is live, with their metrics and the verdict, as JSON",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the summary."""
    store = ArtifactStore.from_env()
    if store.remote is not None:
        from webcam_ml.live import current_ledger

        current_ledger(store)
    stored = {asset: found for asset in ORDER if (found := _latest(store, asset)) is not None}
    if not stored:
        print(f"{store.address} has no artifacts yet. Run `make demo`, or materialize the graph.")
        return 1
    if arguments.json:
        print(json.dumps(_for_machines(stored, store.root / "production"), indent=2))
        return 0
    for line in [*_labels(stored), *_pictures(stored), *_metrics(stored), *_disagreement(stored)]:
        print(line)
    for line in [*_verdict(stored), *_live(store.root / "production")]:
        print(line)
    print("\nWhere things are")
    since = None if arguments.since is None else datetime.fromtimestamp(arguments.since, UTC)
    for asset, artifact in stored.items():
        notes = [*_unchanged(artifact, since), *_behind(artifact, stored)]
        print(f"  {asset:<20} {artifact.address}" + (f"  ({'; '.join(notes)})" if notes else ""))
    return 0


def _latest(store: ArtifactStore, asset: str) -> StoredArtifact | None:
    try:
        return store.latest(asset)
    except ArtifactMissingError:
        return None


def _read(artifact: StoredArtifact, name: str, *, schema_version: int = 1) -> dict[str, Any]:
    return Document(name, artifact.asset, schema_version).read(artifact.folder_with(name))


def _read_comparison(artifact: StoredArtifact) -> dict[str, Any]:
    from webcam_ml.judging import COMPARISON_FILE, EVIDENCE_SCHEMA

    return _read(artifact, COMPARISON_FILE, schema_version=EVIDENCE_SCHEMA)


def _unchanged(artifact: StoredArtifact, since: datetime | None) -> list[str]:
    if since is None or datetime.fromisoformat(artifact.lineage.created_at) >= since:
        return []
    return ["unchanged"]


def _behind(artifact: StoredArtifact, stored: dict[str, StoredArtifact]) -> list[str]:
    """Say from what on it was made from other versions than the latest ones."""
    others = [
        asset
        for asset in ORDER
        if asset in stored
        and artifact.lineage.ancestors.get(asset, stored[asset].data_version)
        != stored[asset].data_version
    ]
    return [f"made from another version of {asset}" for asset in others[:1]]


def _labels(stored: dict[str, StoredArtifact]) -> list[str]:
    if "manifest_full" not in stored:
        return []
    meta = _read(stored["manifest_full"], "export_meta.json")
    lines = [
        (
            f"Labels: {meta['counts']['total']:,} rated snapshots of {meta['webcams']['total']:,} webcams "
            f"({meta['label_source']}, {meta['target_type']})"
        )
    ]
    for split in ("train", "val", "test"):
        spread = ", ".join(
            f"{value:g} {name}" for name, value in meta["target_distribution"][split].items()
        )
        lines.append(
            f"  {split:<5} {meta['counts'][split]:>6,} rows, {meta['webcams'][split]:>4,} webcams: {spread}"
        )
    dropped = {reason: count for reason, count in meta["drop_reasons"].items() if count}
    if dropped:
        lines.append(f"  dropped: {', '.join(f'{n:,} {reason}' for reason, n in dropped.items())}")
    return lines


def _pictures(stored: dict[str, StoredArtifact]) -> list[str]:
    if "image_index" not in stored:
        return []
    meta = _read(stored["image_index"], "image_index_meta.json")
    failed = ", ".join(f"{n} {reason}" for reason, n in meta["failures_by_reason"].items())
    counts = meta["counts"]
    missing = [f"failed: {failed}"] if failed else []
    if left_out := counts.get("left_out"):
        missing.append(f"left out: {left_out:,} that show a placeholder")
    return [
        f"Pictures: {counts['ok']:,} of {counts['snapshots']:,} in use"
        + (f" ({'; '.join(missing)})" if missing else "")
    ]


def _metrics(stored: dict[str, StoredArtifact]) -> list[str]:
    if "eval_report" not in stored:
        return []
    return headlines(_read(stored["eval_report"], "eval_report.json"))


def headlines(report: Mapping[str, Any]) -> list[str]:
    """Say how large the test split of an eval_report.json is, and what was measured on it."""
    split = report["test_split"]
    return [
        (
            f"Test split: {split['rows']:,} rows of {split['webcams']:,} webcams that the model never saw "
            f"(as good as {split['effective_webcams']:.1f} equal ones)"
        ),
        *(
            f"  {name:<20} {with_interval(report['metrics'][name])}"
            for name in target_of(report["target_type"]).headline_metrics
        ),
    ]


def with_interval(metric: Mapping[str, Any]) -> str:
    """Write a metric of a report with its interval, a dash if it has no value."""
    if metric["value"] is None:
        return "–"
    if metric["low"] is None:
        return f"{metric['value']:.3f}"
    return f"{metric['value']:.3f}  (95 % interval {metric['low']:.3f} to {metric['high']:.3f})"


def _verdict(stored: dict[str, StoredArtifact]) -> list[str]:
    """Candidate and live model by name, on the same rows, and what the gates say."""
    if "champion_comparison" not in stored:
        return []
    found = _read_comparison(stored["champion_comparison"])
    champion = found["champion"]
    lines = [f"Candidate: {found['candidate']['model_version']}"]
    if champion is None:
        lines.append("  beside it: no model was live")
    else:
        lines.append(
            f"  beside it, on the same {champion['rows']:,} test rows: {champion['model_version']}"
        )
        for name, one in champion["metrics"].items():
            values = [one[side]["value"] for side in ("candidate", "rival")]
            if None not in values:
                lines.append(
                    f"  {name:<20} candidate {values[0]:.3f}, {champion['model_version']} "
                    f"{values[1]:.3f}"
                )
    failed = _failed(found)
    if not failed:
        lines.append("  every gate says yes")
    return [*lines, *(f"  NO, {name}: {one['reason']}" for name, one in failed.items())]


def _failed(comparison: dict[str, Any]) -> dict[str, Any]:
    from webcam_ml.judging import GATES

    verdicts = comparison["verdicts"]
    return {name: one for name, one in verdicts.items() if name in GATES and not one["passed"]}


def _for_machines(stored: dict[str, StoredArtifact], production: Path) -> dict[str, Any]:
    live = {link.name: meta["model_version"] for link, meta in _live_models(production)}
    if "champion_comparison" not in stored:
        return {"candidate": None, "compared_with": None, "live": live, "failed": None}
    found = _read_comparison(stored["champion_comparison"])
    champion = found["champion"]
    return {
        "candidate": {
            "model_version": found["candidate"]["model_version"],
            "metrics": found["candidate"]["metrics"],
        },
        "compared_with": None
        if champion is None
        else {
            "model_version": champion["model_version"],
            "rows": champion["rows"],
            "metrics": champion["metrics"],
        },
        "live": live,
        "failed": {name: one["reason"] for name, one in _failed(found).items()},
    }


def _live_models(production: Path) -> list[tuple[Path, dict[str, Any]]]:
    links = sorted(path for path in production.glob("*") if path.is_symlink())
    meta = Document("model.meta.json", made_by="onnx_model")
    return [(link, meta.read(link)) for link in links]


def _live(production: Path) -> list[str]:
    lines = [f"Live: {meta['model_version']} in {link}" for link, meta in _live_models(production)]
    return lines or ["Live: no model yet"]


def _disagreement(stored: dict[str, StoredArtifact]) -> list[str]:
    if "disagreement_report" not in stored:
        return []
    report = _read(stored["disagreement_report"], "disagreement_report.json")
    gallery = f"{stored['disagreement_report'].address}/gallery.html"
    return [f"Disagreement: {report['counts']['compared']:,} snapshots compared, see {gallery}"]
