"""What the model was judged on, and what is served now, as frames that can be compared."""

from collections.abc import Mapping

import polars as pl

from webcam_ml.dataset import Manifest
from webcam_ml.dataset.images import DamagedImageError, ImageCache, ImageIndex
from webcam_ml.export import META_FILE, ModelMeta
from webcam_ml.live import current_ledger, live_on_test
from webcam_ml.monitoring._drift import PICTURE_STATISTICS, STATISTICS, picture_statistics
from webcam_ml.store import ArtifactMissingError, ArtifactStore, StoredArtifact


def frames_of_test_split(
    store: ArtifactStore, model: StoredArtifact, *, images: ImageCache
) -> pl.DataFrame | None:
    """Give the test rows of a model, if it is live.

    Args:
        store: Where the models and what they were judged on are.
        model: A stored version of onnx_model.
        images: Where the pictures are.

    Returns:
        `webcam_id`, `phase` and `STATISTICS`; a picture that left the cache has none of its own. None if
        the model is not live, or what it was judged on was not kept.

    Raises:
        LedgerDamagedError: The ledger is not what was written.
    """
    meta = ModelMeta.load(model.folder_with(META_FILE))
    live = current_ledger(store).live(meta.target_type)
    scores = live_on_test(store, meta.target_type)
    if live is None or live.version != meta.model_version or scores is None:
        return None
    try:
        manifest, index = (
            store.find(asset, live.lineage[asset].data_version)
            for asset in ("manifest_test", "image_index")
        )
    except (KeyError, ArtifactMissingError):
        return None
    rows = manifest.load(Manifest).frame.select("snapshot_id", "webcam_id", "phase")
    usable = index.load(ImageIndex).usable().select("snapshot_id", "sha256")
    frames = rows.join(scores.scores, on="snapshot_id").join(usable, on="snapshot_id", how="left")
    return with_pictures_described(frames.rename({"live_score": "raw_score"}), images).select(
        "webcam_id", "phase", *STATISTICS
    )


def with_pictures_described(frames: pl.DataFrame, images: ImageCache) -> pl.DataFrame:
    """Add the statistics of the pictures; null where there is none, or it left the cache.

    Args:
        frames: With `sha256`, null where a frame's picture is not looked at.
        images: Where the pictures are.
    """
    described: dict[str, Mapping[str, float]] = {}
    for sha256 in frames["sha256"].drop_nulls().unique(maintain_order=True):
        try:
            described[sha256] = picture_statistics(images.decode(sha256))
        except DamagedImageError:
            continue
    return frames.with_columns(
        pl.Series(
            name,
            [described[one][name] if one in described else None for one in frames["sha256"]],
            dtype=pl.Float64,
        )
        for name in PICTURE_STATISTICS
    )
