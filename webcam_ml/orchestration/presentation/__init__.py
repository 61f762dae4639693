"""What a person sees of each artifact in the Dagster page: counts, previews, numbers over time."""

from webcam_ml.orchestration.presentation._data import (
    judge_table,
    of_images,
    of_labels,
    of_manifest,
    of_near_duplicates,
)
from webcam_ml.orchestration.presentation._models import (
    of_comparison,
    of_evaluation,
    of_model,
    of_promotion,
    of_refusal,
    of_training,
    of_verdict,
    override_command,
)
from webcam_ml.orchestration.presentation._monitoring import of_served_audit
from webcam_ml.orchestration.presentation._review import of_disagreement, of_rating_queue

__all__ = [
    "judge_table",
    "of_comparison",
    "of_disagreement",
    "of_evaluation",
    "of_images",
    "of_labels",
    "of_manifest",
    "of_model",
    "of_near_duplicates",
    "of_promotion",
    "of_rating_queue",
    "of_refusal",
    "of_served_audit",
    "of_training",
    "of_verdict",
    "override_command",
]
