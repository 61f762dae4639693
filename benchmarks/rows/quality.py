"""How good the cold run's model is beside that of the plain recipe, on the same weights: five demos."""

import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import REPOSITORY, Row, run_module
from benchmarks.rows.live import EPOCHS, RECIPE
from benchmarks.setting import Setting

if TYPE_CHECKING:
    from webcam_ml.dataset import Manifest, RowsWithPictures
    from webcam_ml.dataset.images import ImageCache
    from webcam_ml.metrics import Interval

SEEDS = range(5)
# Ours and the recipe's. The recipe takes three minutes a demo on one core at 128, and ten at 224.
PIXELS = {"": (128, 128), "_at_224": (224, 224), "_at_128_and_224": (128, 224)}
WIDTH = 320
NOT_BELOW = -0.01


def measure_quality(setting: Setting) -> Iterator[Row]:

    setting.make_weights()
    pixels = {"": (64, 64)} if setting.quick else PIXELS
    demos = [Demo.draw(setting, seed) for seed in (SEEDS[:1] if setting.quick else SEEDS)]
    for ending, (ours, recipe) in pixels.items():
        yield over_all(demos, setting, ending=ending, ours=ours, recipe=recipe)


def over_all(
    demos: Sequence["Demo"], setting: Setting, *, ending: str, ours: int, recipe: int
) -> Row:
    """Compare on each demo, at so many pixels each."""
    gains, details = [], []
    for demo in demos:
        scores = demo.scores(setting, ours)
        of_recipe = demo.recipe_scores(setting, recipe)
        gains.append(demo.gain(scores, of_recipe))
        auc = {"ours": demo.auc(scores), "recipe": demo.auc(of_recipe)}
        details.append({"seed": demo.seed, **auc})
    middle, half = over_demos(gains)
    return Row(
        name=f"auc_difference_over_demos{ending}",
        what=f"ROC AUC of the cold run's model at {ours} pixels minus that of the recipe at {recipe}, on the "
        f"test splits of {len(gains)} demos: the mean, with its 95 % interval over webcams",
        against=RECIPE,
        ratio=middle,
        low=middle - half,
        high=middle + half,
        target=NOT_BELOW,
        bound="at least",
        met=middle >= NOT_BELOW,
        details={"auc": details, "differences": [one.value for one in gains]},
    )


def over_demos(gains: Sequence["Interval"]) -> tuple[float, float]:
    """Give the mean of differences and half of its interval; demos share no webcam."""
    halves = [(one.high or 0.0) - (one.low or 0.0) for one in gains]
    middle = np.mean([one.value or 0.0 for one in gains])
    return float(middle), float(np.sqrt(np.sum(np.square(halves))) / 2 / len(gains))


@dataclass(frozen=True)
class Demo:
    """One demo with its splits.

    Attributes:
        seed: It was drawn with.
        database: URL of its labels.
        manifest: All labels.
        rows: Rows with a picture, by split.
        images: Their pictures.
        cache: Root of the caches.
    """

    seed: int
    database: str
    manifest: "Manifest"
    rows: dict[str, "RowsWithPictures"]
    images: "ImageCache"
    cache: Path

    @classmethod
    def draw(cls, setting: Setting, seed: int) -> "Demo":
        """Draw it."""
        from webcam_ml.dataset import build_manifest, rows_with_pictures
        from webcam_ml.dataset.images import ImageCache, ImageSettings, build_image_index
        from webcam_ml.demo import make_demo_data
        from webcam_ml.labels import LabelDatabase, LabelQuery, read_labels

        folder = setting.folder / f"demo-{seed}"
        made = make_demo_data(
            folder,
            seed=seed,
            webcams=60 if setting.quick else 240,
            snapshots=setting.snapshots,
            unrated_fraction=0,
            image_width=96 if setting.quick else WIDTH,
        )
        images = ImageCache(folder / "cache")
        manifest = build_manifest(read_labels(LabelDatabase(made.database), LabelQuery()))
        index = build_image_index(manifest.frame, cache=images, settings=ImageSettings())
        rows = {
            split: rows_with_pictures(manifest.split(split), index)
            for split in ("train", "val", "test")
        }
        return cls(seed, made.database, manifest, rows, images, folder / "cache")

    def scores(self, setting: Setting, size: int) -> npt.NDArray[np.float64]:
        """Give the test rows' scores by the model of a cold run."""
        from webcam_ml.training import TrainingSettings, predict, train

        checkpoint = train(
            self.rows["train"],
            self.rows["val"],
            meta=self.manifest.meta,
            settings=TrainingSettings(weights=str(setting.weights), image_size=size),
            images=self.images,
            cache=self.cache,
        ).checkpoint
        test = self.rows["test"].frame
        return predict(checkpoint, test, images=self.images, cache=self.cache).raw_score

    def recipe_scores(self, setting: Setting, size: int) -> npt.NDArray[np.float64]:
        """Give the test rows' scores by the recipe, which is trained unless its scores are kept."""
        score_of = recipe_scores(setting, self.database, seed=self.seed, size=size)
        return np.array([score_of[one] for one in self.rows["test"].frame["snapshot_id"]])

    def gain(
        self, scores: npt.NDArray[np.float64], of_recipe: npt.NDArray[np.float64]
    ) -> "Interval":
        """Give the AUC of scores of the test rows less that of the recipe."""
        from webcam_ml.metrics import paired_difference

        test = self.rows["test"].frame
        return paired_difference(
            "roc_auc",
            test["target_label"].to_numpy(),
            scores,
            of_recipe,
            webcam_id=test["camera_id"].to_numpy(),
            random_state=0,
        ).interval(0.95)

    def auc(self, scores: npt.NDArray[np.float64]) -> float:
        """Give the AUC of scores of the test rows."""
        from sklearn.metrics import roc_auc_score

        return round(float(roc_auc_score(self.rows["test"].frame["target_label"], scores)), 4)


def recipe_scores(setting: Setting, database: str, *, seed: int, size: int) -> dict[int, float]:
    """Give what the recipe scores by snapshot; what it did before on equal terms is kept."""
    key = hashlib.sha256(setting.weights.read_bytes())
    for name in ("benchmarks/plain_recipe", "webcam_ml/demo"):
        for file in sorted((REPOSITORY / name).glob("*.py")):
            key.update(file.read_bytes())
    quick = "quick-" if setting.quick else ""
    folder = setting.folder.parent / "recipes" / f"{quick}{key.hexdigest()[:12]}-{seed}-{size}"
    predictions = folder / "predictions.csv"
    if not predictions.exists():
        folder.mkdir(parents=True, exist_ok=True)
        package, epochs = "benchmarks.plain_recipe", str(1 if setting.quick else EPOCHS)
        run_module(f"{package}.train", database, setting.weights, str(size), epochs, folder)
        run_module(f"{package}.evaluate", database, str(size), folder)
    with predictions.open(newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    return {int(row["snapshot_id"]): float(row["score"]) for row in rows}
