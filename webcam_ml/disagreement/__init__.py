"""Where people and model differ: labels worth a second look.

`report_disagreement` collects the rows to compare from stored artifacts; the rest are pure functions
over compared rows. How the ranking works and what it found stands in ``docs/disagreement.md``.
"""

from webcam_ml.disagreement._collect import report_disagreement
from webcam_ml.disagreement._document import DisagreementDocument, ReportRow
from webcam_ml.disagreement._ranking import RaterVariance, RatingGivenScore, expected_correction
from webcam_ml.disagreement._report import (
    GALLERY_FILE,
    DisagreementReport,
    build_disagreement_report,
)
from webcam_ml.disagreement._settings import DisagreementSettings, Ranking
from webcam_ml.disagreement._thumbnails import thumbnail_jpeg

__all__ = [
    "GALLERY_FILE",
    "DisagreementDocument",
    "DisagreementReport",
    "DisagreementSettings",
    "Ranking",
    "RaterVariance",
    "RatingGivenScore",
    "ReportRow",
    "build_disagreement_report",
    "expected_correction",
    "report_disagreement",
    "thumbnail_jpeg",
]
