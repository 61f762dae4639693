"""Compared rows as a real database might give them, without a database."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from webcam_ml.contracts import WEBCAM_COLUMNS
from webcam_ml.disagreement import (
    DisagreementReport,
    DisagreementSettings,
    build_disagreement_report,
)

STAR_SHARES = (0.62, 0.10, 0.08, 0.11, 0.09)
QUICK = {"bootstrap_samples": 200}


def compared_rows(
    n: int, *, seed: int = 0, webcams: int = 40, raters: float = 1.3, strength: float = 1.0
) -> pl.DataFrame:
    """Rows of unequal webcams, with votes scattered around a true rating that the score follows.

    Each webcam is in one split; train rows are out-of-fold, others held out.
    """
    rng = np.random.default_rng(seed)
    truth = np.clip(rng.choice(5, p=STAR_SHARES, size=n) + 1 + rng.normal(0, 0.4, n), 1, 5)
    count = 1 + rng.poisson(raters - 1, n)
    votes = np.zeros((n, 5), dtype=np.int64)
    for row in range(n):
        given = np.clip(np.rint(truth[row] + rng.normal(0, 0.8, count[row])), 1, 5).astype(int)
        votes[row] = np.bincount(given - 1, minlength=5)
    label = votes @ np.arange(1, 6) / count
    logit = strength * 1.2 * (truth - 3.7) + rng.normal(0, 0.8, n)
    webcam = 1_000 + 37 * rng.zipf(1.3, n).clip(max=webcams)
    split = np.array(["train", "train", "train", "val", "test"])[webcam % 5]
    sha256 = [f"{snapshot:064x}" for snapshot in range(n)]
    return pl.DataFrame(
        {
            "snapshot_id": np.arange(n) + 10,
            "webcam_id": webcam,
            "camera_id": webcam,
            "split": split,
            "phase": rng.choice(["sunrise", "sunset"], n),
            "captured_at": [
                f"2025-{1 + i % 12:02}-{1 + i % 28:02}T16:{i % 60:02}:00" for i in range(n)
            ],
            "label_value": label.round(2),
            "rating_count": count,
            **{f"stars_{star}": votes[:, star - 1] for star in range(1, 6)},
            **dict.fromkeys(column.name for column in WEBCAM_COLUMNS),
            "webcam_title": [f"Camera {number}" for number in webcam],
            "webcam_source": "windy",
            "image_path_or_url": [f"https://pictures.example.org/{i}.jpg" for i in range(n)],
            "sha256": sha256,
            "raw_score": (1 / (1 + np.exp(-logit))).round(6),
            "prediction_kind": np.where(split == "train", "out_of_fold", "model"),
        }
    )


def picture(sha256: str) -> NDArray[np.uint8]:
    """A smooth picture that differs from row to row."""
    hue = int(sha256, 16) % 200
    rows, columns = np.mgrid[0:90, 0:160]
    return np.stack([np.full_like(rows, hue), rows * 2, columns], axis=2).astype(np.uint8)


def build(
    rows: pl.DataFrame, *, settings: DisagreementSettings | None = None, **others: object
) -> DisagreementReport:
    """The report of some rows, with everything usual that a test does not care about."""
    arguments = {
        "model_version": "binary-resnet18-0a1b2c3d4e5f",
        "target_type": "binary",
        "decision_threshold": 0.4,
        "left_out": {},
        "thumbnail": picture,
        **others,
    }
    return build_disagreement_report(
        rows, settings=settings or DisagreementSettings(**QUICK), **arguments
    )
