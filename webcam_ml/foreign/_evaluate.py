"""From the scores of a foreign model to a report on it, and to the verdicts of the gates."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from webcam_ml.contracts import PEOPLE, TARGETS, Document, Target, target_of
from webcam_ml.dataset import Manifest, require_people_on_webcams
from webcam_ml.dataset.duplicates import PLACEHOLDER
from webcam_ml.dataset.images import ImageIndex
from webcam_ml.errors import WebcamMLError
from webcam_ml.evaluation import (
    EvalReport,
    Verdict,
    beats_trivial_baselines,
    build_eval_report,
    calibrated,
    enough_test_data,
    judges_of,
    no_weak_slice,
)
from webcam_ml.foreign._predictions import ForeignPredictions
from webcam_ml.judging import (
    GATES,
    ComparisonSettings,
    ScoredRows,
    measure_pair,
    pair_within_margin,
)
from webcam_ml.live import LiveOnTest
from webcam_ml.training import best_f1_threshold

DOCUMENT = Document("foreign.json", made_by="webcam-ml evaluate")
NO_SCORE = "no score"
# What stands where a report of the graph has the SHA-256 of its checkpoint.
FOREIGN = "foreign:"
FOREIGN_MODEL, LIVE_MODEL = "foreign", "live"


@dataclass(frozen=True)
class ForeignReport:
    """What can be said of a model by its scores alone.

    Attributes:
        report: The report; its `checkpoint` is `foreign:` and the digest of the predictions.
        counts: Lines with a score, by where they belong: `val`, `test`, `train` (not used), and
            `unknown` (of no snapshot in the manifest).
        verdicts: Gate, or check that warns → what it says.
        not_asked: Gates that need a model file, or a live model, and why each was not asked.
    """

    report: EvalReport
    counts: Mapping[str, int]
    verdicts: Mapping[str, Verdict]
    not_asked: Mapping[str, str]

    def save(self, folder: Path) -> None:
        """Write the report, its plots and foreign.json with counts and verdicts.

        Raises:
            WebcamMLError: The folder cannot be made, or holds something.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise WebcamMLError(f"{folder} is not empty: name another folder with --to")
            self.report.save(folder)
            DOCUMENT.write(
                folder,
                {
                    "foreign": True,
                    "predictions": self.report.document.checkpoint.removeprefix(FOREIGN),
                    "counts": dict(self.counts),
                    "verdicts": {name: asdict(one) for name, one in self.verdicts.items()},
                    "not_asked": dict(self.not_asked),
                },
            )
        except OSError as error:
            raise WebcamMLError(
                f"{folder} cannot be written ({error.strerror}): name another folder with --to"
            ) from error


def evaluate_predictions(
    predictions: ForeignPredictions,
    manifest: Manifest,
    *,
    index: ImageIndex | None = None,
    live: LiveOnTest | None = None,
    settings: ComparisonSettings | None = None,
    bootstrap_samples: int = 2000,
    random_state: int = 0,
) -> ForeignReport:
    """Measure scores of val and test rows as eval_report does, and ask the gates that can judge.

    The decision threshold of a binary model is chosen by F1 on validation, as in training. Nobody
    can see here what the model learned from: that it saw no webcam of validation and test, and
    chose nothing by them, is up to whoever brings it.

    Args:
        predictions: Scores by snapshot.
        manifest: Webcam, split and label of all snapshots.
        index: Which snapshots show a placeholder: nothing is judged on them. None if that is not known.
        live: The live model's scores; None if there is nothing to compare with.
        settings: Floors and margins; the defaults if None.
        bootstrap_samples: Resamples of the webcams behind each interval.
        random_state: Seed of the resamples.

    Raises:
        WebcamMLError: The labels are not of the target type that the manifest names, a row is not
            of a webcam or not rated by people, or too few rows have a score to measure anything.
    """
    settings = settings or ComparisonSettings()
    asked = _asked(manifest)
    parts = {name: manifest.split(name) for name in ("val", "test")}
    for name, part in parts.items():
        require_people_on_webcams(part.frame, name)
    cards = _placeholders(manifest, index)
    known = manifest.frame.select("snapshot_id", "split")
    placed = predictions.frame.join(cards, on="snapshot_id", how="anti").join(
        known, on="snapshot_id", how="left"
    )
    counts = {name: int((placed["split"] == name).sum()) for name in ("train", "val", "test")} | {
        "unknown": placed["split"].null_count()
    }
    rows = (
        pl.concat([part.frame for part in parts.values()])
        .join(cards, on="snapshot_id", how="anti")
        .join(predictions.frame.rename({"score": "raw_score"}), on="snapshot_id", how="left")
    )
    shown = {name: cards.filter(pl.col("split") == name).height for name in parts}
    left_out = {
        name: ({PLACEHOLDER: shown[name]} if shown[name] else {})
        | _without_score(rows, name, counts)
        for name in parts
    }
    scored = (
        rows.drop_nulls("raw_score")
        .join(manifest.details, on="snapshot_id", how="left")
        .sort("split", "snapshot_id")
    )
    scored = scored.with_columns(
        # Two ids of one camera count as one camera: their rows are not independent.
        manifest.meta.cameras(scored["webcam_id"]).alias("webcam_id"),
        pl.lit(None, pl.Float64).alias("channel_means_score"),
        pl.lit(None, pl.Float64).alias("uncalibrated_score"),
    )
    people = manifest.of_people.frame
    counted = manifest.meta.cameras(people["webcam_id"]).value_counts()
    train = people.filter(pl.col("split") == "train")["target_label"].to_numpy()
    report = build_eval_report(
        scored,
        target_type=asked.name,
        decision_threshold=_threshold(scored) if asked.has_classes else None,
        binary_threshold=manifest.meta.binary_threshold,
        baselines=asked.constants_of(train),
        test_manifest_sha256=hashlib.sha256(parts["test"].to_csv()).hexdigest(),
        left_out=left_out,
        webcam_label_counts=dict(counted.iter_rows()),
        checkpoint=f"{FOREIGN}{predictions.sha256}",
        judges=judges_of(parts["test"]),
        bootstrap_samples=bootstrap_samples,
        random_state=random_state,
    )
    verdicts = {
        "enough_test_data": enough_test_data(report),
        "beats_trivial_baselines": beats_trivial_baselines(report, without_pictures=True),
        "quality_floor": _quality_floor(report, settings),
        "no_test_rows_left_out": _enough_scored(report, settings),
        "no_weak_slice": no_weak_slice(report),
        "calibrated": calibrated(report),
    }
    not_asked = {
        name: "it needs the model's file and what it was made from"
        for name in GATES
        if name not in verdicts
    }
    beside = None if live is None else _beside(live, scored, report, settings)
    if beside is not None:
        verdicts["not_worse_than_champion"] = beside
        del not_asked["not_worse_than_champion"]
    else:
        not_asked["not_worse_than_champion"] = (
            f"no live {asked.name} model whose scores of these test rows are stored"
        )
    return ForeignReport(report, counts, verdicts, not_asked)


def _asked(manifest: Manifest) -> Target:
    named = manifest.meta.target_type
    if named not in TARGETS:
        raise WebcamMLError(
            f"the manifest's export_meta.json names the target type {named!r}; it must be one of "
            f"{', '.join(TARGETS)}"
        )
    asked = target_of(named)
    low, high = asked.scale
    label = pl.col("target_label")
    fits = label.is_in([low, high]) if asked.has_classes else label.is_between(low, high)
    # Of a judge's rows the target is a share, or stars that may lie off the scale.
    labelled = manifest.frame.filter(pl.col("label_origin") == PEOPLE)
    strange = labelled.filter(~fits.fill_null(False))
    if strange.height:
        row = strange.row(0, named=True)
        raise WebcamMLError(
            f"the manifest is of another target type than its export_meta.json says: that names "
            f"{named}, and {strange.height:,} of {labelled.height:,} rows have a target_label "
            f"that is none, the first is {row['target_label']} (snapshot {row['snapshot_id']}). Keep "
            "a manifest and its export_meta.json together"
        )
    return asked


def _placeholders(manifest: Manifest, index: ImageIndex | None) -> pl.DataFrame:
    """Give `snapshot_id` and `split` of rows whose address, by the index, leads to a placeholder."""
    rows = manifest.frame.select("snapshot_id", "split", source="image_path_or_url")
    if index is None:
        return rows.select("snapshot_id", "split").head(0)
    cards = index.left_out().select("snapshot_id", "source")
    return rows.join(cards, on=["snapshot_id", "source"], how="semi").drop("source")


def _without_score(rows: pl.DataFrame, split: str, counts: Mapping[str, int]) -> dict[str, int]:
    part = rows.filter(pl.col("split") == split)
    if part.is_empty():
        raise WebcamMLError(
            f"the manifest has no {split} rows: give manifest_full.csv, which has all splits"
        )
    if not counts[split]:
        why = (
            "choose the decision threshold and are measured beside test"
            if split == "val"
            else "are what is judged on"
        )
        raise WebcamMLError(
            f"none of the {part.height:,} {split} rows of the manifest has a score, and they {why}. "
            f"Of the scores {counts['unknown']:,} are of snapshots that the manifest does not know"
        )
    missing = part.height - counts[split]
    return {NO_SCORE: missing} if missing else {}


def _threshold(scored: pl.DataFrame) -> float:
    val = scored.filter(pl.col("split") == "val")
    threshold = best_f1_threshold(val["raw_score"].to_numpy(), val["target_label"].to_numpy())
    if threshold is None:
        raise WebcamMLError(
            f"none of the {val.height:,} val rows with a score is positive, so no decision "
            "threshold can be chosen: give scores of all val rows"
        )
    return threshold


def _quality_floor(report: EvalReport, settings: ComparisonSettings) -> Verdict:
    document = report.document
    floor = target_of(document.target_type).quality_floor(
        document.metrics,
        baselines={one.name: one.metrics for one in document.baselines},
        floors=settings,
    )
    return Verdict(floor.passed, floor.reason, floor.numbers)


def _enough_scored(report: EvalReport, settings: ComparisonSettings) -> Verdict:
    split = report.document.test_split
    missing = split.left_out.get(NO_SCORE, 0)
    share = missing / (missing + split.rows)
    found = f"Of {missing + split.rows} test rows {missing} have no score"
    allowed = settings.max_test_rows_missing
    numbers = {"missing": missing, "share": round(share, 6), "max_test_rows_missing": allowed}
    if share > allowed:
        return Verdict(
            False,
            f"{found}, {share:.1%}, and {allowed:.1%} are allowed: which rows count must not depend "
            "on which were easy to score.",
            numbers,
        )
    return Verdict(True, f"{found}.", numbers)


def _beside(
    live: LiveOnTest, scored: pl.DataFrame, report: EvalReport, settings: ComparisonSettings
) -> Verdict | None:
    """Compare on the test rows that both have scores of; None if there are none."""
    both = (
        scored.filter(pl.col("split") == "test")
        .join(live.scores, on="snapshot_id", how="inner")
        .sort("snapshot_id")
    )
    if both.is_empty():
        return None
    document = report.document
    rows = ScoredRows(
        both.select(
            "snapshot_id",
            "split",
            "target_label",
            camera_id="webcam_id",
            sha256=pl.lit(None, pl.String),
        ),
        document.target_type,
        document.intervals.bootstrap_samples,
        document.intervals.random_state,
        {
            FOREIGN_MODEL: both["raw_score"].to_numpy().astype(np.float64),
            LIVE_MODEL: both["live_score"].to_numpy().astype(np.float64),
        },
    )
    return pair_within_margin(
        measure_pair(rows, FOREIGN_MODEL, LIVE_MODEL, live.next_number),
        live=live.model_version,
        on_test=None,
        target_type=document.target_type,
        settings=settings,
    )
