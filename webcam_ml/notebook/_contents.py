"""Which tables and documents each asset has, by their names: those of the files, without ending."""

from collections.abc import Callable, Mapping
from pathlib import Path

from webcam_ml.contracts import (
    DETAILS_TABLE,
    EVALUATED_TABLE,
    IMAGE_INDEX_TABLE,
    LABELS_TABLE,
    MANIFEST_TABLE,
    NEAR_DUPLICATES_TABLE,
    PLACEHOLDERS_TABLE,
    PREDICTIONS_TABLE,
    RATING_QUEUE_TABLE,
    RELABEL_QUEUE_TABLE,
    SERVED_ROWS_TABLE,
    Document,
    Table,
)
from webcam_ml.dataset import SPLIT_NAMES, ExportMeta
from webcam_ml.disagreement import REPORT_TABLE, DisagreementReport
from webcam_ml.evaluation import EvalReport
from webcam_ml.export import ModelMeta, Parity
from webcam_ml.judging import Comparison
from webcam_ml.live import LiveModel
from webcam_ml.monitoring import ServedAudit
from webcam_ml.rating_queue import RatingQueue
from webcam_ml.training import Checkpoint

MANIFESTS = tuple(f"manifest_{part}" for part in ("full", *SPLIT_NAMES))

# The first table of an asset is the one that is meant if none is named; likewise with documents.
TABLES: Mapping[str, Mapping[str, Table]] = {
    "labels_raw": {"labels": LABELS_TABLE},
    **{name: {name: MANIFEST_TABLE, "snapshot_details": DETAILS_TABLE} for name in MANIFESTS},
    "image_index": {
        "image_index": IMAGE_INDEX_TABLE,
        "near_duplicates": NEAR_DUPLICATES_TABLE,
        "placeholders": PLACEHOLDERS_TABLE,
    },
    "checkpoint": {"predictions": PREDICTIONS_TABLE},
    "eval_report": {"predictions": EVALUATED_TABLE},
    "disagreement_report": {
        "disagreement_report": REPORT_TABLE,
        "relabel_queue": RELABEL_QUEUE_TABLE,
    },
    "rating_queue": {"rating_queue": RATING_QUEUE_TABLE},
    "served_scores_audit": {"served_scores_audit": SERVED_ROWS_TABLE},
}


def _plain(name: str, made_by: str) -> Callable[[Path], object]:
    """Read a document that is no more than counts and settings as a dict."""
    return Document(f"{name}.json", made_by).read


DOCUMENTS: Mapping[str, Mapping[str, Callable[[Path], object]]] = {
    "labels_raw": {"labels_meta": _plain("labels_meta", "labels_raw")},
    **{name: {"export_meta": ExportMeta.load} for name in MANIFESTS},
    "image_index": {
        "image_index_meta": _plain("image_index_meta", "image_index"),
        "near_duplicates_meta": _plain("near_duplicates_meta", "image_index"),
    },
    "checkpoint": {"train_summary": lambda folder: Checkpoint.load(folder).summary},
    "eval_report": {"eval_report": lambda folder: EvalReport.load(folder).document},
    "onnx_model": {"model.meta": ModelMeta.load, "parity": Parity.load},
    "disagreement_report": {
        "disagreement_report": lambda folder: DisagreementReport.load(folder).document
    },
    "rating_queue": {"rating_queue": lambda folder: RatingQueue.load(folder).meta},
    "champion_comparison": {
        "champion_comparison": Comparison.load,
        "eval_report": lambda folder: Comparison.load(folder).eval_document,
    },
    "production_model": {"production_model": LiveModel.load},
    "served_scores_audit": {"served_scores_audit": ServedAudit.load},
}
