"""Rows and columns that the application has grown since: what judges, curator and live models said."""

from collections.abc import Iterable
from datetime import timedelta
from itertools import chain
from pathlib import Path

from webcam_ml.demo._curator import Gold, gold_of_photograph, gold_of_snapshot
from webcam_ml.demo._elsewhere import Photograph
from webcam_ml.demo._judges import Judgement, judge_photograph, judge_snapshot
from webcam_ml.demo._options import Stream, random_stream
from webcam_ml.demo._plan import Snapshot

OLD_MODEL = "binary-mobilenet-2025-01"
OLD_REGRESSION = "regression-mobilenet-2025-01"
UNSCORED_EVERY = 40

Row = dict[str, object]


def judged_columns(seed: int, snapshot: Snapshot) -> Row:
    """What a language model and the live models said of a snapshot."""
    judgement = judge_snapshot(seed, snapshot)
    scored = snapshot.id % UNSCORED_EVERY != 0
    return _of_language_model(judgement, snapshot) | _of_live_models(
        old_score(seed, snapshot) if scored else None
    )


def photograph_row(seed: int, photograph: Photograph, image_folder: Path) -> Row:
    """The row of a picture from elsewhere."""
    view = photograph.view
    return {
        "id": photograph.id,
        "source": photograph.source,
        "source_id": photograph.source_id,
        "image_url": (image_folder / view.file_name).as_posix(),
        "owner": photograph.owner,
        "license": photograph.licence,
        "title": photograph.title,
        "category": photograph.category,
        "created_at": view.captured_at + timedelta(days=30),
        **_of_language_model(judge_photograph(seed, view), view),
        **_of_live_models(None),
    }


def gold_rows(
    seed: int, snapshots: Iterable[Snapshot], photographs: Iterable[Photograph]
) -> list[Row]:
    """The rows of `manual_labels` for what has a gold label."""
    of_snapshots = (("webcam", one.id, one, gold_of_snapshot(seed, one)) for one in snapshots)
    # The application's table knows photographs of one source alone.
    of_photographs = (
        ("flickr", one.id, one.view, gold_of_photograph(seed, one.view))
        for one in photographs
        if one.source == "flickr"
    )
    return [
        _gold_row(source, image_id, view, gold)
        for source, image_id, view, gold in chain(of_snapshots, of_photographs)
        if gold is not None
    ]


def old_score(seed: int, snapshot: Snapshot) -> float:
    """The score of an old and bad model: random, whatever the picture shows."""
    rng = random_stream(seed, Stream.OLD_MODEL, snapshot.id)
    return round(float(rng.beta(2, 5)), 6)


def _gold_row(source: str, image_id: int, view: Snapshot, gold: Gold) -> Row:
    return {
        "source": source,
        "image_id": image_id,
        "is_sunset": gold.stars is not None,
        "rating": gold.stars,
        "origin": "curator",
        "labeled_at": view.captured_at + timedelta(seconds=round(3600 * gold.hours_later)),
    }


def _of_language_model(judgement: Judgement | None, snapshot: Snapshot) -> Row:
    if judgement is None:
        return dict.fromkeys(_LANGUAGE_MODEL_COLUMNS)
    weather = snapshot.weather
    sees_event = judgement.score > min(judgement.judge.scores)
    said = (
        judgement.score,
        judgement.judge.model,
        judgement.judge.provider,
        snapshot.captured_at + timedelta(days=2),
        judgement.confidence,
        sees_event and snapshot.phase == "sunset",
        sees_event and snapshot.phase == "sunrise",
        weather.low_cover > 0.2 or weather.high_cover > 0.3,
        _obstruction(snapshot),
        _time_of_day(snapshot.sun_elevation),
        round(20 * snapshot.scene.horizon) / 20,
        {"prompt": 3},
    )
    return dict(zip(_LANGUAGE_MODEL_COLUMNS, said, strict=True))


_LANGUAGE_MODEL_COLUMNS = (
    "llm_quality",
    "llm_model",
    "llm_provider",
    "llm_rated_at",
    "llm_confidence",
    "llm_is_sunset",
    "llm_is_sunrise",
    "llm_has_clouds",
    "llm_obstruction",
    "llm_time_of_day",
    "llm_sky_coverage",
    "llm_metadata",
)


def _obstruction(snapshot: Snapshot) -> str | None:
    if snapshot.weather.fog > 0.5:
        return "fog"
    return "building" if snapshot.scene.scene == "city" else None


def _time_of_day(elevation: float) -> str:
    for least, name in ((6, "day"), (0, "golden hour"), (-6, "twilight")):
        if elevation >= least:
            return name
    return "night"


def _of_live_models(score: float | None) -> Row:
    if score is None:
        return {"scoring_path": "unscored", "scoring_state": "failed"} | dict.fromkeys(
            (
                "ai_regression_score",
                "ai_model_version_regression",
                "ai_binary_score",
                "ai_binary_is_sunset",
                "ai_model_version_binary",
            )
        )
    return {
        "ai_regression_score": score,
        "ai_model_version_regression": OLD_REGRESSION,
        "ai_binary_score": score,
        "ai_binary_is_sunset": score >= 0.5,
        "ai_model_version_binary": OLD_MODEL,
        "scoring_path": "onnx",
        "scoring_state": "done",
    }
