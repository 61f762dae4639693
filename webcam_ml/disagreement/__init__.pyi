from ._asked_before import AskedBefore
from ._collect import report_disagreement
from ._document import DisagreementDocument, ReportRow
from ._files import GALLERY_FILE, QUEUE_FILE
from ._preview import draw_differences, small_pictures
from ._ranking import RaterVariance, RatingGivenScore, expected_correction
from ._report import (
    DisagreementReport,
    build_disagreement_report,
)
from ._settings import DisagreementSettings, Ranking
from ._tables import REPORT_TABLE
from ._thumbnails import thumbnail_jpeg

__all__ = [
    "GALLERY_FILE",
    "QUEUE_FILE",
    "REPORT_TABLE",
    "AskedBefore",
    "DisagreementDocument",
    "DisagreementReport",
    "DisagreementSettings",
    "Ranking",
    "RaterVariance",
    "RatingGivenScore",
    "ReportRow",
    "build_disagreement_report",
    "draw_differences",
    "expected_correction",
    "report_disagreement",
    "small_pictures",
    "thumbnail_jpeg",
]
