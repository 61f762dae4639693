"""Three real candidates on the same test rows, and stores to promote them in.

They are trained on labels that differ outside the test split: half of them shuffled, as they are,
and all of them shuffled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from webcam_ml.dataset import Manifest, TargetConfig
from webcam_ml.dataset.images import ImageCache, ImageIndex
from webcam_ml.evaluation import EvalReport, evaluate_checkpoint
from webcam_ml.export import ExportedModel, export_candidate, parity_pictures
from webcam_ml.judging import Comparison, ComparisonSettings, compare_with_champion
from webcam_ml.labels import Labels
from webcam_ml.live import Promotion, candidate_counter, promote, were_live
from webcam_ml.store import Artifact, ArtifactStore, Provenance, StoredArtifact
from webcam_ml.training import Checkpoint
from webcam_ml_tests.world import World, make_labels, make_world

WEBCAMS, PER_WEBCAM = 150, 4
RESAMPLES = 200
REAL, DEMO = {"dialect": "postgresql", "host": "h", "name": "app"}, {"demo": True, "name": "demo"}


@dataclass(frozen=True)
class Made:
    """All that leads to one candidate, as values."""

    world: World
    checkpoint: Checkpoint
    report: EvalReport
    exported: ExportedModel

    @property
    def version(self) -> str:
        return self.exported.meta.model_version


def shuffle_outside_test(world: World, fraction: float, seed: int) -> Labels:
    """Permute a fraction of the ratings among train and validation rows."""
    random = np.random.default_rng(seed)
    split = world.manifest.frame["split"].to_numpy()
    chosen = np.flatnonzero((split != "test") & (random.random(len(split)) < fraction))
    order = np.arange(len(split))
    order[chosen] = random.permutation(chosen)
    names = [
        name
        for name in world.labels.frame.columns
        if name in ("label_value", "cached_rating", "fresh_rating") or name.startswith("stars_")
    ]
    moved = world.labels.frame.select(names)[order]
    frame = world.labels.frame.with_columns(*(moved[name] for name in names))
    return replace(world.labels, frame=frame)


def make_world_of(folder: Path, target: TargetConfig | None = None) -> World:
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    labels = make_labels(webcams=WEBCAMS, per_webcam=PER_WEBCAM, folder=pictures)
    return make_world(folder, labels=labels, target=target)


def make_all(folder: Path) -> dict[str, Made]:
    clean = make_world_of(folder)
    worlds = {"better": clean}
    for name, fraction in (("first", 0.5), ("shuffled", 1.0)):
        worlds[name] = make_world(folder, labels=shuffle_outside_test(clean, fraction, seed=4))
    return {name: make(world) for name, world in worlds.items()}


def make(world: World, checkpoint: Checkpoint | None = None) -> Made:
    """Train if nothing was, evaluate, export; parity on few pictures, for it is proved elsewhere on many."""
    checkpoint = checkpoint or world.train().checkpoint
    report = evaluate_checkpoint(
        checkpoint,
        world.manifest.split("val"),
        world.manifest.split("test"),
        world.index,
        images=world.images,
        cache=world.cache,
        bootstrap_samples=RESAMPLES,
    ).report
    with pytest.MonkeyPatch.context() as patch:
        few = {name: parity_pictures()[name] for name in ("thumbnail", "tiny")}
        patch.setattr("webcam_ml.export._model_file.parity_pictures", lambda: few)
        exported = export_candidate(
            checkpoint,
            report,
            world.index,
            labels=world.manifest.meta,
            images=world.images,
            cache=world.cache,
        )
    return Made(world, checkpoint, report, exported)


@dataclass(frozen=True)
class Works:
    """A store, and the steps of the graph around it, without Dagster."""

    store: ArtifactStore

    def put(self, asset: str, value: Artifact, database: Mapping[str, object] | None = REAL,
            **inputs: StoredArtifact) -> StoredArtifact:  # fmt: skip
        return self.store.write(
            asset, value, inputs=inputs, provenance=Provenance("run", database=database)
        )[0]

    def add(
        self, made: Made, database: Mapping[str, object] | None = REAL
    ) -> dict[str, StoredArtifact]:
        """Store a candidate with its whole ancestry."""
        world = made.world
        found = {"labels_raw": self.put("labels_raw", world.labels, database)}

        def put(asset: str, value: Artifact, *inputs: str) -> None:
            found[asset] = self.put(
                asset, value, database, **{name: found[name] for name in inputs}
            )

        put("manifest_full", world.manifest, "labels_raw")
        for split in ("train", "val", "test"):
            put(f"manifest_{split}", world.manifest.split(split), "manifest_full")
        put("image_index", world.index, "manifest_full")
        put("checkpoint", made.checkpoint, "manifest_train", "manifest_val", "image_index")
        put(
            "eval_report", made.report, "checkpoint", "manifest_val", "manifest_test", "image_index"
        )
        put("onnx_model", made.exported, "checkpoint", "eval_report", "image_index")
        return found

    def compare(
        self,
        found: Mapping[str, StoredArtifact],
        cache: Path,
        settings: ComparisonSettings | None = None,
    ) -> StoredArtifact:
        """Make and store the evidence; of the cache only the pictures are used."""
        manifest_test = found["manifest_test"].load(Manifest)
        made_for = manifest_test.meta.target_type
        result = compare_with_champion(
            found["onnx_model"],
            found["eval_report"].load(EvalReport),
            found["manifest_val"].load(Manifest),
            manifest_test,
            found["image_index"].load(ImageIndex),
            store=self.store,
            were_live=were_live(self.store, made_for),
            count_candidate=candidate_counter(self.store, made_for),
            settings=settings,
            images=ImageCache(cache),
        )
        return self.put_evidence(result.comparison, found)

    def put_evidence(
        self, comparison: Comparison, found: Mapping[str, StoredArtifact]
    ) -> StoredArtifact:
        names = ("onnx_model", "eval_report", "manifest_val", "manifest_test", "image_index")
        return self.put("champion_comparison", comparison, **{name: found[name] for name in names})

    def run(self, made: Made, settings: ComparisonSettings | None = None,
            database: Mapping[str, object] | None = REAL) -> Promotion:  # fmt: skip
        """Store, compare, promote."""
        found = self.add(made, database)
        evidence = self.compare(found, made.world.cache, settings)
        return promote(found["onnx_model"], evidence, store=self.store, run_id="run")
