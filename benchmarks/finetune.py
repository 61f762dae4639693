"""When does fine-tuning win, when does it lose? The table in docs/training.md.

Draws demos of several seeds, trains the probe and the fine-tuned network on each, and measures both on
the test split, also where the probe was kept:

    python benchmarks/pretrain.py --output good.pt
    python benchmarks/pretrain.py --output weak.pt --webcams 200 --snapshots 700 --epochs 2 --image-size 64
    python benchmarks/pretrain.py --output poor.pt --webcams 100 --snapshots 200 --epochs 2 --image-size 64
    python benchmarks/finetune.py --good good.pt --weak weak.pt --poor poor.pt

The weights come from drawn cameras of another seed, see there. Some twenty minutes on two idle cores
that have bfloat16; what is done is kept in ``benchmarks/out/finetune``, so that a run that was stopped
goes on.
"""

import argparse
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl

from webcam_ml.dataset import build_manifest, rows_with_pictures
from webcam_ml.dataset.images import ImageCache, ImageSettings, build_image_index
from webcam_ml.demo import make_demo_data
from webcam_ml.labels import LabelDatabase, LabelQuery, read_labels
from webcam_ml.metrics import paired_difference, webcam_estimate
from webcam_ml.training import Checkpoint, FineTuneSettings, TrainingSettings, predict, train

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: What it shows.
        snapshots: Rated snapshots of the demo.
        webcams: Its cameras.
        image_width: Of its pictures, in pixels.
        image_size: What the network sees.
        learning_rate: Of fine-tuning.
        epochs: Of fine-tuning, at most.
        weights: How much they have seen of what is asked.
    """

    name: str
    snapshots: int = 900
    webcams: int = 240
    image_width: int = 160
    image_size: int = 64
    learning_rate: float = 1e-4
    epochs: int = 3
    weights: Literal["good", "weak", "poor"] = "good"


MANY = Case("", snapshots=2000, webcams=480)
CASES = (
    replace(MANY, name="poor weights, 2,000 labels", weights="poor", learning_rate=2e-4, epochs=8),
    replace(MANY, name="weak weights, 2,000 labels", weights="weak", learning_rate=3e-4, epochs=6),
    Case("weak weights, 900 labels", weights="weak", learning_rate=3e-4),
    Case("good weights, 900 labels"),
    # They saw pictures of 112 pixels: at 224 the sky has finer grain than they know.
    Case("good weights at 224 pixels, 900 labels", image_width=640, image_size=224, epochs=6),
    Case("good weights, 300 labels", snapshots=300, webcams=100),
)


def measure(case: Case, *, seed: int, weights: Path, folder: Path) -> dict[str, object]:
    """Train both models on one demo and measure them on its test split."""
    made = make_demo_data(
        folder / f"demo-{seed}-{case.webcams}-{case.snapshots}-{case.image_width}",
        seed=seed,
        snapshots=case.snapshots,
        webcams=case.webcams,
        unrated_fraction=0,
        image_width=case.image_width,
    )
    cache = folder / "cache"
    images = ImageCache(cache)
    manifest = build_manifest(read_labels(LabelDatabase(made.database), LabelQuery()))
    index = build_image_index(manifest.frame, cache=images, settings=ImageSettings())
    train_rows, val_rows, test_rows = (
        rows_with_pictures(manifest.split(split), index) for split in ("train", "val", "test")
    )
    result = train(
        train_rows,
        val_rows,
        meta=manifest.meta,
        settings=TrainingSettings(
            weights=str(weights),
            image_size=case.image_size,
            strategy="finetune",
            finetune=FineTuneSettings(
                epochs=case.epochs,
                batch_size=16,
                learning_rate=case.learning_rate,
                precision="bf16-mixed",
            ),
        ),
        images=images,
        cache=cache,
    )
    challenge = result.challenge
    assert challenge is not None
    said = challenge.summary()
    row: dict[str, object] = {
        "case": case.name,
        "seed": seed,
        "train_rows": train_rows.frame.height,
        "val_rows": val_rows.frame.height,
        "probe_val_auc": said["history"][0]["val_metric"],
        "best_epoch": said["best_epoch"],
        "gain": said["gain"],
        "kept": said["kept"],
        "stopped": said["stopped"],
    }
    probe = replace(result.checkpoint, weights=challenge.probe.to_bytes())
    webcams = test_rows.frame["camera_id"].to_numpy()
    target = test_rows.frame["target_label"].to_numpy()

    def scores(checkpoint: Checkpoint) -> pl.Series:
        predicted = predict(checkpoint, test_rows.frame, images=images, cache=cache)
        return pl.Series(predicted.raw_score)

    before = scores(probe)
    row["probe_test_auc"] = webcam_estimate(
        "roc_auc", target, before, webcam_id=webcams, random_state=0
    ).value
    if challenge.model is not None:
        after = scores(replace(result.checkpoint, weights=challenge.model.to_bytes()))
        difference = paired_difference(
            "roc_auc", target, after, before, webcam_id=webcams, random_state=0
        )
        row["test_gain"] = difference.interval(0.90).model_dump()
    return row


def table(rows: list[dict[str, object]]) -> str:
    """The rows as Markdown."""
    lines = [
        (
            "| case | seed | probe, test AUC | validation gain (90 % bound) | kept | "
            "test gain of the fine-tuned network (90 % interval) |"
        ),
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        gain, test = row["gain"], row.get("test_gain")
        validation = "diverged"
        if isinstance(gain, dict):
            bound = gain["lower_bound"]
            validation = f"{gain['value']:+.3f} ({'–' if bound is None else f'{bound:+.3f}'})"
        shown = "–"
        if isinstance(test, dict):
            shown = f"{test['value']:+.3f} ({test['low']:+.3f} to {test['high']:+.3f})"
        kept = "fine-tuned" if row["kept"] == "fine_tuned" else "probe"
        lines.append(
            f"| {row['case']} | {row['seed']} | {row['probe_test_auc']:.3f} | {validation} | "
            f"{kept} | {shown} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--good", type=Path, required=True, help="a weights file")
    parser.add_argument("--weak", type=Path, required=True, help="one that has seen little")
    parser.add_argument(
        "--poor", type=Path, required=True, help="one that has seen next to nothing"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[16, 20])
    parser.add_argument("--folder", type=Path, default=HERE / "out" / "finetune")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("webcam_ml").setLevel(logging.INFO)
    rows = []
    for case in CASES:
        for seed in arguments.seeds:
            weights = getattr(arguments, case.weights)
            row = measure(case, seed=seed, weights=weights, folder=arguments.folder)
            rows.append(row)
            (arguments.folder / "finetune.json").write_text(json.dumps(rows, indent=2) + "\n")
            print(table(rows), flush=True)


if __name__ == "__main__":
    main()
