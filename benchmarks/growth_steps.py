"""The measured process: what follows the manifests, on features and scores that are drawn.

    python -m benchmarks.growth_steps LABELS CACHE WEIGHTS SIZE STEP…

LABELS has what `labels_ours` wrote. Pictures of a hundred thousand labels would take hours to draw and
another to see, and that time is linear by nature. So features are drawn and put into the cache that
training reads, and scores are drawn for the reports. Each step tells its seconds and the peak
memory of the process while it ran.
"""

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.measure import peak_bytes
from webcam_ml.dataset import Manifest, build_manifest, rows_with_pictures
from webcam_ml.dataset.images import ArrayCache, ImageCache, ImageIndex
from webcam_ml.disagreement import DisagreementSettings, build_disagreement_report
from webcam_ml.evaluation import build_eval_report
from webcam_ml.features import BackboneSpec, prepare_backbone
from webcam_ml.labels import Labels
from webcam_ml.training import TrainingSettings, train

FEATURES = 896  # of the last three stages of a resnet18
MODEL = "binary-resnet18-drawn"


def main() -> None:
    labels_folder, cache, weights, size, *steps = sys.argv[1:]
    spec = BackboneSpec(model_name="resnet18", weights=weights, image_size=int(size))
    manifest = build_manifest(Labels.load(Path(labels_folder)))
    results: dict[str, dict[str, float]] = {}
    for name in steps:
        prepare, work = STEPS[name]
        prepared = prepare(manifest, spec, Path(cache))
        # Let the peak memory of this process count from now (Linux).
        Path("/proc/self/clear_refs").write_text("5")
        began = time.perf_counter()
        work(*prepared)
        seconds = time.perf_counter() - began
        results[name] = {"seconds": seconds, "peak_bytes": peak_bytes()}
    print(json.dumps(results))


def with_features(manifest: Manifest, spec: BackboneSpec, cache: Path) -> tuple[Any, ...]:
    """Fill the cache of features: noise, and a part that goes with the label."""
    graph = prepare_backbone(spec, cache=cache)
    rows = manifest.frame.filter(pl.col("split") != "test")
    digests = [hashlib.sha256(b"%d" % one).hexdigest() for one in manifest.frame["snapshot_id"]]
    index = ImageIndex(
        frame=manifest.frame.select("snapshot_id", source="image_path_or_url").with_columns(
            status=pl.lit("ok"),
            error=pl.lit(None, pl.String),
            sha256=pl.Series(digests),
            bytes=pl.lit(50_000),
            width=pl.lit(640),
            height=pl.lit(360),
            format=pl.lit("JPEG"),
        ),
        max_failed_fraction=0.05,
    )
    seen = rows.join(index.frame.select("snapshot_id", "sha256"), on="snapshot_id")
    target = seen["target_label"].to_numpy()
    place = {digest: number for number, digest in enumerate(seen["sha256"])}
    direction = np.random.default_rng(0).normal(size=FEATURES + 3).astype(np.float32)

    def features(digest: str) -> Any:
        number = place[digest]
        noise = np.random.default_rng(number).normal(size=FEATURES + 3).astype(np.float32)
        return noise + 0.1 * np.float32(target[number]) * direction

    kept = ArrayCache(cache / "features" / f"{graph.fingerprint[:24]}.sqlite", np.float32)
    kept.keep({digest: features(digest) for digest in seen["sha256"]})
    return manifest, index, spec, cache


def work_checkpoint(manifest: Manifest, index: ImageIndex, spec: BackboneSpec, cache: Path) -> None:
    train(
        rows_with_pictures(manifest.split("train"), index),
        rows_with_pictures(manifest.split("val"), index),
        meta=manifest.meta,
        settings=TrainingSettings(**spec.model_dump()),
        images=ImageCache(cache),
        cache=cache,
    )


def with_scores(manifest: Manifest, spec: BackboneSpec, cache: Path) -> tuple[Any, ...]:
    """Every row with its details and a drawn score that knows something of the label."""
    random = np.random.default_rng(0)
    target = manifest.frame["target_label"].to_numpy()
    logit = random.normal(size=len(target)) + 1.5 * target - 1.5
    rows = manifest.frame.join(manifest.details, on="snapshot_id", maintain_order="left")
    return (
        rows.with_columns(
            raw_score=pl.Series(np.round(1 / (1 + np.exp(-logit)), 6)),
            channel_means_score=pl.Series(random.uniform(size=len(target))),
            uncalibrated_score=pl.lit(None, pl.Float64),
            sha256=pl.lit(None, pl.String),
            camera_id=pl.col("webcam_id"),
            prediction_kind=pl.when(pl.col("split") == "train")
            .then(pl.lit("out_of_fold"))
            .otherwise(pl.lit("model")),
        ),
    )


def work_eval_report(rows: pl.DataFrame) -> None:
    build_eval_report(
        rows.filter(pl.col("split") != "train"),
        target_type="binary",
        decision_threshold=0.5,
        binary_threshold=4.0,
        baselines={"prior": float(rows["target_label"].mean())},
        test_manifest_sha256="0" * 64,
        left_out={},
        webcam_label_counts=dict(rows["webcam_id"].value_counts().iter_rows()),
        checkpoint="0" * 64,
    )


def work_disagreement_report(rows: pl.DataFrame) -> None:
    build_disagreement_report(
        rows,
        model_version=MODEL,
        target_type="binary",
        decision_threshold=0.5,
        left_out={},
        thumbnail=unreachable,
        settings=DisagreementSettings(),
    )


def unreachable(digest: str) -> Any:
    raise AssertionError(f"{digest} is drawn, so nothing reads its picture")


STEPS: dict[str, tuple[Any, Any]] = {
    "checkpoint": (with_features, work_checkpoint),
    "eval_report": (with_scores, work_eval_report),
    "disagreement_report": (with_scores, work_disagreement_report),
}

if __name__ == "__main__":
    main()
