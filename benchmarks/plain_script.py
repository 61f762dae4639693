"""The measured process: the domain functions of the whole graph, called one after the other.

    python -m benchmarks.plain_script URL STORE CACHE WEIGHTS SIZE quick|full

What the assets do, without Dagster: each value is stored and read back by the same store, because
that is what promotion insists on.
"""

import sys
from pathlib import Path

from webcam_ml.dataset import SPLIT_NAMES, Manifest, build_manifest, rows_with_pictures
from webcam_ml.dataset.images import ImageCache, ImageIndex, ImageSettings, build_image_index
from webcam_ml.disagreement import DisagreementSettings, report_disagreement
from webcam_ml.evaluation import EvalReport, evaluate_checkpoint
from webcam_ml.export import export_candidate
from webcam_ml.features import BackboneSpec
from webcam_ml.judging import ComparisonSettings, compare_with_champion
from webcam_ml.labels import LabelDatabase, LabelQuery, Labels, read_labels
from webcam_ml.live import LiveModel, candidate_counter, promote, were_live
from webcam_ml.store import Artifact, ArtifactStore, Provenance, StoredArtifact
from webcam_ml.training import Checkpoint, TrainingSettings, train


def main() -> None:
    url, folder, cache_folder, weights, size, extent = sys.argv[1:]
    store, cache = ArtifactStore(Path(folder)), Path(cache_folder)
    database, images = LabelDatabase(url), ImageCache(cache)
    source = Provenance(run_id="script", database={**database.description, "demo": True})
    stored: dict[str, StoredArtifact] = {}

    def keep(name: str, value: Artifact, *inputs: str) -> None:
        stored[name], _ = store.write(
            name, value, inputs={one: stored[one] for one in inputs}, provenance=source
        )

    keep("labels_raw", read_labels(database, LabelQuery()))
    keep("manifest_full", build_manifest(stored["labels_raw"].load(Labels)), "labels_raw")
    full = stored["manifest_full"].load(Manifest)
    for split in SPLIT_NAMES:
        keep(f"manifest_{split}", full.split(split), "manifest_full")
    splits = {split: stored[f"manifest_{split}"].load(Manifest) for split in SPLIT_NAMES}
    keep(
        "image_index",
        build_image_index(full.frame, cache=images, settings=ImageSettings()),
        "manifest_full",
    )
    index = stored["image_index"].load(ImageIndex)
    spec = BackboneSpec(model_name="resnet18", weights=weights, image_size=int(size))
    trained = train(
        rows_with_pictures(splits["train"], index),
        rows_with_pictures(splits["val"], index),
        meta=splits["train"].meta,
        settings=TrainingSettings(**spec.model_dump()),
        images=images,
        cache=cache,
    )
    keep("checkpoint", trained.checkpoint, "manifest_train", "manifest_val", "image_index")
    checkpoint = stored["checkpoint"].load(Checkpoint)
    evaluated = evaluate_checkpoint(
        checkpoint, splits["val"], splits["test"], index,
        images=images, cache=cache, bootstrap_samples=2000,
    )  # fmt: skip
    keep(
        "eval_report", evaluated.report,
        "checkpoint", "manifest_val", "manifest_test", "image_index",
    )  # fmt: skip
    report = stored["eval_report"].load(EvalReport)
    keep(
        "onnx_model",
        export_candidate(
            checkpoint, report, index, labels=full.meta, images=images, cache=cache
        ),
        "checkpoint", "eval_report", "manifest_train", "image_index",
    )  # fmt: skip
    disagreement = report_disagreement(
        stored["onnx_model"], checkpoint, full, index,
        settings=DisagreementSettings(), store=store, database=lambda: database,
        images=images, cache=cache,
    )  # fmt: skip
    keep(
        "disagreement_report", disagreement,
        "onnx_model", "checkpoint", "manifest_full", "image_index",
    )  # fmt: skip
    if extent == "quick":
        return
    compared = compare_with_champion(
        stored["onnx_model"], report, splits["val"], splits["test"], index,
        store=store, were_live=were_live(store, report.document.target_type),
        count_candidate=candidate_counter(store, report.document.target_type),
        settings=ComparisonSettings(), images=images,
    )  # fmt: skip
    keep(
        "champion_comparison", compared.comparison,
        "onnx_model", "eval_report", "manifest_val", "manifest_test", "image_index",
    )  # fmt: skip
    promotion = promote(
        stored["onnx_model"], stored["champion_comparison"], store=store, run_id="script"
    )
    keep("production_model", LiveModel.of(promotion), "onnx_model", "champion_comparison")


if __name__ == "__main__":
    main()
