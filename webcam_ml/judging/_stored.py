"""Two stored models beside each other on test, to be looked at: no gate, no count, no verdict."""

from webcam_ml.dataset import Manifest, rows_with_pictures
from webcam_ml.dataset.images import ImageCache, ImageIndex
from webcam_ml.evaluation import EvalReport
from webcam_ml.export import MODEL_FILE, ExportedModel
from webcam_ml.judging._pair import Counted, ScoredRows
from webcam_ml.judging._rivals import (
    CANDIDATE,
    CandidateUnderTest,
    MeasuredRival,
    WasLive,
    measure_rival,
)
from webcam_ml.judging._runtime import ModelFile, RuntimeProcess, score_in_runtime
from webcam_ml.store import ArtifactStore, StoredArtifact


def measure_stored(
    older: StoredArtifact, newer: StoredArtifact, *, store: ArtifactStore, images: ImageCache
) -> MeasuredRival:
    """Score the newer model's test rows by two stored models, and measure both.

    Test webcams that the older one was trained or tuned on are left out.

    Args:
        older: A stored version of onnx_model; it takes the place of the live model.
        newer: Another one, for the same target type.
        store: Where their ancestors are.
        images: Where the pictures are.

    Raises:
        ArtifactMissingError: An ancestor was pruned.
        WebcamMLError: A file is damaged, or the runtime does not serve it.
    """

    def ancestor(name: str) -> StoredArtifact:
        return store.find(name, newer.lineage.ancestors[name])

    exported, before = newer.load(ExportedModel), older.load(ExportedModel)
    manifest_test = ancestor("manifest_test").load(Manifest)
    intervals = ancestor("eval_report").load(EvalReport).document.intervals
    pictured = rows_with_pictures(manifest_test, ancestor("image_index").load(ImageIndex))
    rows = ScoredRows(
        pictured.frame,
        exported.meta.target_type,
        intervals.bootstrap_samples,
        intervals.random_state,
        {},
    )
    with RuntimeProcess(_file(newer, exported)) as runtime:
        rows = rows.with_scores(CANDIDATE, score_in_runtime(runtime, rows.digests, images=images))
    pictures = pictured.frame.select("snapshot_id", "sha256")
    tested = CandidateUnderTest(
        newer, exported, manifest_test.meta, rows, pictures, images, store, _count_nobody
    )
    return measure_rival(WasLive(_file(older, before), older.data_version, None), tested)


def _file(stored: StoredArtifact, exported: ExportedModel) -> ModelFile:
    return ModelFile(stored.folder / MODEL_FILE, exported.meta.model_version, exported.sha256)


def _count_nobody(version: str, model_sha256: str, pair_sha256: str) -> Counted:
    raise AssertionError(f"{version} is only looked at")
