"""From compared rows to the report: the value that is kept, and the one function that makes it."""

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import polars as pl

from webcam_ml.contracts import RELABEL_QUEUE_TABLE, TargetType, target_of
from webcam_ml.dataset.images import work_ahead
from webcam_ml.disagreement._asked_before import AskedBefore
from webcam_ml.disagreement._document import (
    DOCUMENT,
    SCHEMA_VERSION,
    WHAT_SIGNED_DIFF_MEANS,
    Counts,
    DisagreementDocument,
    IntervalMethod,
    NearThreshold,
    RankingMeta,
    ReportRow,
)
from webcam_ml.disagreement._files import GALLERY_FILE, QUEUE_FILE, TABLE_FILE
from webcam_ml.disagreement._gallery import LARGEST_GALLERY, gallery_rows, render_gallery
from webcam_ml.disagreement._ranking import RatingGivenScore
from webcam_ml.disagreement._rows import checked_rows, with_differences
from webcam_ml.disagreement._said import SaidOfRows
from webcam_ml.disagreement._settings import DisagreementSettings
from webcam_ml.disagreement._summary import CONFIDENCE, INTERVAL_METHOD, summarise
from webcam_ml.disagreement._tables import relabel_queue, report_csv
from webcam_ml.disagreement._thumbnails import RgbArray, thumbnail_bytes, thumbnail_jpeg
from webcam_ml.errors import WebcamMLError
from webcam_ml.progress import track

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DisagreementReport:
    """Where people and model differ most, as data, tables and pictures.

    Attributes:
        document: The content of disagreement_report.json.
        queue: The labels to rate again, in order; the content of relabel_queue.csv.
        gallery: The content of gallery.html: one file that needs nothing else.
    """

    document: DisagreementDocument
    queue: pl.DataFrame
    gallery: str

    def save(self, folder: Path) -> None:
        """Write disagreement_report.json and .csv, relabel_queue.csv and gallery.html."""
        DOCUMENT.write(folder, self.document.model_dump(mode="json"))
        (folder / TABLE_FILE).write_bytes(report_csv(self.document.worst))
        RELABEL_QUEUE_TABLE.write(self.queue, folder / QUEUE_FILE)
        (folder / GALLERY_FILE).write_bytes(self.gallery.encode())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, in this version or an earlier one.

        Raises:
            DocumentError: disagreement_report.json cannot be read.
            TableError: relabel_queue.csv lacks a column that is needed.
        """
        return cls(
            document=DOCUMENT.read_as(folder, DisagreementDocument.model_validate),
            queue=RELABEL_QUEUE_TABLE.read(folder / QUEUE_FILE),
            gallery=(folder / GALLERY_FILE).read_bytes().decode(),
        )


def build_disagreement_report(
    rows: pl.DataFrame,
    *,
    model_version: str,
    target_type: TargetType,
    decision_threshold: float | None,
    left_out: Mapping[str, int],
    thumbnail: Callable[[str], RgbArray],
    settings: DisagreementSettings,
    asked: AskedBefore | None = None,
    said: SaidOfRows | None = None,
) -> DisagreementReport:
    """Compare people's ratings with the model's, and list the labels most worth a second look.

    Args:
        rows: Every row that can be compared, in any order: snapshot_id, webcam_id, camera_id (the
            same for webcams that are one camera, which intervals count as one), split, phase,
            captured_at (ISO, UTC), label_value (1–5), rating_count, stars_1 … stars_5 (the votes
            behind the label), webcam_title, webcam_source, image_path_or_url, sha256 (null if the
            picture is gone), raw_score (0–1), prediction_kind (``out_of_fold``,
            ``out_of_fold_probe``, ``model``, ``recorded``, or ``recorded_known_webcam`` where the
            model was trained on other pictures of the webcam). phase, captured_at, webcam_title and
            webcam_source may be null.
        model_version: Whose predictions they are.
        target_type: What the model was asked.
        decision_threshold: Binary: the raw_score from which a picture counts as positive, or None
            if it is not known. None for regression.
        left_out: Labelled rows that could not be compared, by reason.
        thumbnail: From a sha256 to the picture, [height, width, 3] uint8 RGB. A `WebcamMLError`
            from it shows the row without a picture.
        settings: Length and order of the list, and how summaries are measured.
        asked: What earlier reports asked to be rated again; nothing if None.
        said: What people and judges said of the rows; None where the labels hear no judges.

    Raises:
        WebcamMLError: There is no row, or ratings or scores are off their scale.
        ValueError: The rows break the contract above, or a train row is predicted in-sample.
    """
    target, asked = target_of(target_type), asked or AskedBefore()
    if not target.has_classes and decision_threshold is not None:
        raise ValueError(f"a {target_type} model decides nothing, so it has no decision_threshold")
    frame = with_differences(checked_rows(rows, left_out=left_out))
    model = RatingGivenScore.fit(frame)
    scores = frame["raw_score"].to_numpy()
    near = pl.lit(None, dtype=pl.Boolean)
    if decision_threshold is not None:
        distance = (pl.col("raw_score") - decision_threshold).abs()
        near = distance.round(9) <= settings.near_threshold_margin
    frame = frame.with_columns(
        pl.Series("expected_rating", model.mean(scores).round(4)),
        pl.Series("expected_correction", model.expected_correction(frame).round(4)),
        is_near_threshold=near,
    )
    # Equal ranks are common (votes are whole stars), hence the order among them.
    ranked = frame.sort(settings.ranking, "abs_diff", "snapshot_id", descending=[True, True, False])
    ranked = ranked.with_row_index("rank", offset=1)
    worst = _report_rows(ranked.head(settings.limit), model_version, said)
    queue = relabel_queue(
        ranked, by=settings.ranking, limit=min(settings.limit, LARGEST_GALLERY), asked=asked
    )
    queued = _report_rows(
        queue.select("snapshot_id").join(ranked, on="snapshot_id", maintain_order="left"),
        model_version,
        said,
    )
    pictures = _pictures(gallery_rows(worst, queued), thumbnail)
    summary = summarise(frame, settings)
    document = DisagreementDocument(
        schema_version=SCHEMA_VERSION,
        model_version=model_version,
        target_type=target_type,
        ai_rating_meaning=target.words.ai_rating_in_reports,
        signed_diff_meaning=WHAT_SIGNED_DIFF_MEANS,
        counts=Counts(
            compared=frame.height,
            webcams=frame["webcam_id"].n_unique(),
            listed=len(worst),
            queued=queue.height,
            rated_again=frame.filter(pl.col("snapshot_id").is_in(list(asked.answered))).height,
            pictures_missing=frame["sha256"].null_count(),
            prediction_kinds=dict(sorted(frame["prediction_kind"].value_counts().iter_rows())),
            left_out=dict(sorted(left_out.items())),
        ),
        ranking=_ranking_meta(model, settings),
        intervals=IntervalMethod(
            confidence=CONFIDENCE,
            method=INTERVAL_METHOD,
            bootstrap_samples=settings.bootstrap_samples,
            random_state=settings.random_state,
        ),
        near_threshold=None
        if decision_threshold is None
        else NearThreshold(
            decision_threshold=decision_threshold,
            margin=settings.near_threshold_margin,
            count=summary.all.near_threshold or 0,
        ),
        summary=summary,
        worst=worst,
    )
    gallery = render_gallery(document, queued=queued, asked=asked, pictures=pictures)
    return DisagreementReport(document, queue, gallery)


def _report_rows(
    ranked: pl.DataFrame, model_version: str, said: SaidOfRows | None
) -> list[ReportRow]:
    fields = [name for name in ReportRow.model_fields if name not in ("model_version", "said")]
    told = {} if said is None else said.of(ranked["snapshot_id"].to_list())
    return [
        ReportRow(model_version=model_version, said=told.get(row["snapshot_id"]), **row)
        for row in ranked.select(fields).iter_rows(named=True)
    ]


def _pictures(rows: list[ReportRow], thumbnail: Callable[[str], RgbArray]) -> dict[int, bytes]:
    """Encode the pictures that are there, on all cores, by snapshot_id."""
    max_bytes = thumbnail_bytes(len(rows))

    def encoded(sha256: str) -> bytes | WebcamMLError:
        try:
            return thumbnail_jpeg(thumbnail(sha256), max_bytes=max_bytes)
        except WebcamMLError as error:
            return error

    there = [(row, row.sha256) for row in rows if row.sha256 is not None]
    pictures: dict[int, bytes] = {}
    with closing(work_ahead([sha256 for _, sha256 in there], encoded)) as found:
        shown = track(found, total=len(there), what="thumbnails", unit="pictures")
        for (row, _), (_, picture) in zip(there, shown, strict=True):
            if isinstance(picture, bytes):
                pictures[row.snapshot_id] = picture
            else:
                logger.warning(
                    "snapshot %d is shown without its picture: %s", row.snapshot_id, picture
                )
    return pictures


def _ranking_meta(model: RatingGivenScore, settings: DisagreementSettings) -> RankingMeta:
    raters = model.rater_variance
    without_effect = None
    if settings.ranking == "expected_correction" and raters.value == 0:
        without_effect = (
            f"People agree on every one of the {raters.snapshots} pictures that several of them "
            "rated, so no label would be expected to move if more of them rated it: every expected "
            "correction is 0, the rows are in order of abs_diff, and nothing is queued to be rated "
            "again. Set ranking to abs_diff for a queue by the plain difference"
        )
        logger.warning(without_effect)
    return RankingMeta(
        by=settings.ranking,
        limit=settings.limit,
        rater_variance=round(raters.value, 6),
        rater_variance_from=(
            "snapshots with several raters" if raters.measured else "the usual value"
        ),
        snapshots_with_several_raters=raters.snapshots,
        mean_raters=round(model.mean_raters, 6),
        fitted_rows=len(model.scores),
        fitted_on="out-of-fold and held-out rows" if model.held_out else "all rows",
        without_effect=without_effect,
    )
