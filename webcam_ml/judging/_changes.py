"""What differs between a candidate and the live model: definition, data, training."""

import json
from collections.abc import Iterator

from webcam_ml.dataset import SPLIT_NAMES, ExportMeta
from webcam_ml.dataset.judges import JudgeComparison, compare_judges
from webcam_ml.judging._evidence import Change, ChangeKind
from webcam_ml.store import ArtifactStore, StoredArtifact
from webcam_ml.training import TRAIN_SUMMARY

TRAINING_FACTS = (
    "strategy", "model_name", "weights", "image_size", "feature_stages", "store_weights",
    "class_weight", "random_state",
)  # fmt: skip
# What is meant where a summary of before the setting says nothing.
FACTS_OF_BEFORE = {"feature_stages": 1, "store_weights": "fp32"}


def changes_between(
    live: StoredArtifact, candidate: StoredArtifact, meta: ExportMeta, store: ArtifactStore
) -> Iterator[Change]:
    """Yield what differs between two stored versions of onnx_model.

    Args:
        live: The model that is live.
        candidate: The one that is to go live.
        meta: How the candidate's labels were made.
        store: Where the ancestors of both are.
    """
    of_live = labels_of(live, store)
    sides = _facts_of_labels(of_live), _facts_of_labels(meta)
    for (kind, what), old in sides[0].items():
        # Not every label source has every setting.
        new = sides[1].get((kind, what))
        if old != new:
            yield Change(kind=kind, what=what, champion=old, candidate=new)
    for judge in compare_judges_of(of_live, meta):
        if judge.moved:
            yield Change(
                kind="definition",
                what=f"what scores of {judge.judge} mean",
                champion=f"weight {judge.weight_before:g}, cut {judge.cut_before:g}",
                candidate=f"weight {judge.weight_now:g}, cut {judge.cut_now:g}",
            )
    trainings = training_facts(live, store), training_facts(candidate, store)
    for what, old in trainings[0].items():
        if old != trainings[1][what]:
            yield Change(kind="model", what=what, champion=old, candidate=trainings[1][what])


def from_demo(stored: StoredArtifact) -> bool:
    """Whether an artifact descends from the demo's label database, which its lineage marks."""
    return bool((stored.lineage.database or {}).get("demo", False))


def compare_judges_of(before: ExportMeta, now: ExportMeta) -> list[JudgeComparison]:
    """Compare the judges of two manifests of one target type."""
    return compare_judges(
        before.heard, now.heard, same_target=before.binary_threshold == now.binary_threshold
    )


def labels_of(model: StoredArtifact, store: ArtifactStore) -> ExportMeta:
    """Read how the labels of a stored version of onnx_model were made.

    Raises:
        ArtifactMissingError: The manifest is not in the store any more.
        ArtifactDamagedError: It is not what was written.
    """
    manifest = store.find("manifest_full", model.lineage.ancestors["manifest_full"])
    manifest.verify()
    return ExportMeta.load(manifest.folder)


def training_facts(
    model: StoredArtifact, store: ArtifactStore
) -> dict[str, float | int | str | None]:
    """Read how a stored model was trained."""
    checkpoint = store.find("checkpoint", model.lineage.ancestors["checkpoint"])
    checkpoint.verify()
    summary = TRAIN_SUMMARY.read(checkpoint.folder)
    return {name: summary.get(name, FACTS_OF_BEFORE.get(name)) for name in TRAINING_FACTS}


def _facts_of_labels(meta: ExportMeta) -> dict[tuple[ChangeKind, str], float | int | str | None]:
    split = meta.split_config
    return {
        ("definition", "binary_threshold"): meta.binary_threshold,
        ("definition", "seed"): split.seed,
        ("definition", "train_pct"): split.train_pct,
        ("definition", "val_pct"): split.val_pct,
        ("definition", "test_pct"): split.test_pct,
        # It moves webcams between the splits, and says which of them are one witness.
        ("definition", "merge_duplicate_webcams"): "true" if meta.duplicate_webcams else "false",
        # A judge that got another name is another judge, whatever it says.
        ("definition", "judges that speak"): _plain(
            list(meta.heard.speaking) if meta.heard else None
        ),
        **{("definition", name): _plain(value) for name, value in meta.query.to_dict().items()},
        **{("data", f"{name} rows"): meta.counts[name] for name in SPLIT_NAMES},
        **{("data", f"{name} webcams"): meta.webcams[name] for name in SPLIT_NAMES},
        ("data", "webcams merged into cameras"): len(meta.duplicate_webcams.camera_of)
        if meta.duplicate_webcams
        else 0,
        ("data", "labels"): meta.labels_sha256,
        ("data", "calibration of judges"): meta.heard.calibration_sha256 if meta.heard else None,
    }


def _plain(value: object) -> float | int | str | None:
    """Bring a setting to one value that a change can show."""
    if value is None or isinstance(value, float | int | str):
        return value
    return ", ".join(map(str, value)) if isinstance(value, list) else json.dumps(value)
