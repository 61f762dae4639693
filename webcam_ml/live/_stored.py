"""What the store holds of models and of evidence on them, the newest first."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

from webcam_ml.export import META_FILE, ModelMeta
from webcam_ml.judging import ASSET, COMPARISON_FILE, Comparison
from webcam_ml.live._requirements import PromotionRefused
from webcam_ml.store import ArtifactDamagedError, ArtifactStore, StoredArtifact, is_plain_name

logger = logging.getLogger(__name__)


def stored_versions(store: ArtifactStore, asset: str) -> Iterator[StoredArtifact]:
    """Yield every readable version of an asset, the newest first."""
    for version in store.versions(asset):
        try:
            yield store.read_version(asset, version)
        except ArtifactDamagedError as error:
            logger.warning("%s is passed over: %s", version, error)


def models_that_were_live(store: ArtifactStore) -> Iterator[tuple[Path, str | None]]:
    """Yield each file of production_model, and the model that it says was live; None if it is unreadable."""
    for stored in stored_versions(store, "production_model"):
        path = stored.folder / "production_model.json"
        try:
            version = json.loads(path.read_bytes())["model_version"]
            if version is not None and not is_plain_name(str(version)):
                raise ValueError("its model_version is no name")
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s cannot be read: %s", path, error)
            yield path, None
            continue
        if version is not None:
            yield path, str(version)


def stored_models(store: ArtifactStore) -> dict[str, StoredArtifact]:
    """Give every model of the store by its model_version, the newest where several have the same.

    Whatever was ever live is among them: `prune` keeps it.
    """
    models: dict[str, StoredArtifact] = {}
    for stored in stored_versions(store, "onnx_model"):
        try:
            name = ModelMeta.load(stored.folder_with(META_FILE)).model_version
        except (OSError, ValueError) as error:
            logger.warning("%s is passed over: %s", stored.address, error)
            continue
        models.setdefault(name, stored)
    return models


def find_candidate(store: ArtifactStore, version: str) -> StoredArtifact:
    models = stored_models(store)
    if version not in models:
        raise PromotionRefused(
            f"there is no model {version}. Stored candidates: {', '.join(sorted(models)) or 'none'}"
        )
    return models[version]


def newest_evidence(
    store: ArtifactStore, candidate: StoredArtifact
) -> tuple[StoredArtifact, Comparison] | None:
    found = [
        stored
        for stored in stored_versions(store, ASSET)
        if stored.lineage.inputs.get("onnx_model") == candidate.data_version
    ]
    if not found:
        return None
    # Names begin with a time, and a clock may have been set back; the pointer needs no clock.
    latest = store.latest(ASSET).version
    newest = next((one for one in found if one.version == latest), found[0])
    return newest, newest.load(Comparison)


def candidates_judged(store: ArtifactStore, comparison: Comparison) -> int:
    """Count the different models that were ever judged on this test split (`prune` keeps them)."""
    split = comparison.evidence.test_split.sha256
    models = {comparison.evidence.candidate.model_sha256}
    for stored in stored_versions(store, ASSET):
        # Only two fields are read: older versions may have written others, and damage elsewhere in
        # old evidence must not keep a new model from going live.
        try:
            content = json.loads(
                (stored.folder_with(COMPARISON_FILE) / COMPARISON_FILE).read_bytes()
            )
            if content["test_split"]["sha256"] == split:
                models.add(content["candidate"]["model_sha256"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s is not counted: %s", stored.address, error)
    return len(models)
