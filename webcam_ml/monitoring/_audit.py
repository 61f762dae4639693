"""From the label database and the store to what is wrong with the scores that were served. Only reads."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from webcam_ml.contracts import SERVED_ROWS_TABLE, rating_of
from webcam_ml.dataset.images import (
    ImageCache,
    index_what_can_be_read,
)
from webcam_ml.labels import LabelDatabase, read_image_sources, read_served
from webcam_ml.live import stored_models
from webcam_ml.monitoring._drift import Drift, drift, sentence_of
from webcam_ml.monitoring._findings import (
    BASELINE_UNDER_NAME,
    DRIFT,
    FINDINGS,
    OTHER_PREPROCESSING,
    OTHER_SCORES,
    SCORES_OFF_SCALE,
    UNKNOWN_VERSION,
    UNSCORED_FRAMES,
    WRONG_VERSION,
)
from webcam_ml.monitoring._reference import frames_of_test_split, with_pictures_described
from webcam_ml.monitoring._served_audit import Finding, ServedAudit
from webcam_ml.monitoring._settings import AuditSettings
from webcam_ml.monitoring._version import VersionAudit
from webcam_ml.scoring import BASELINE_VERSION
from webcam_ml.store import ArtifactStore, StoredArtifact

# Where these are found, the scores say nothing of how the world has moved.
OF_OTHER_MAKING = {OTHER_PREPROCESSING, OTHER_SCORES, WRONG_VERSION, BASELINE_UNDER_NAME}
# Two roundings to two decimals, ours and the application's, differ by one hundredth at most.
LARGEST_ROUNDING = 0.011


def audit_served_scores(
    *,
    store: ArtifactStore,
    database: LabelDatabase,
    images: ImageCache,
    settings: AuditSettings,
) -> ServedAudit:
    """Compare what the application stored with what the files that it names say of the same pictures.

    Equal databases, stores and pictures give an equal audit.

    Args:
        store: Where the models are.
        database: What the application stored; SELECT is enough.
        images: Where pictures are kept.
        settings: How far back, how many pictures.

    Raises:
        LabelDatabaseError: The database cannot be read.
        WebcamMLError: A model of the store cannot be read, or the cache cannot be written.
    """
    served = read_served(database, days=settings.days)
    models = stored_models(store)
    usable = served.frame.filter(_on_scale())
    named = usable.filter(pl.col("model_version").is_in(list(models)))
    drawn = _with_pictures(
        _draw(named, settings.pictures, settings), database, images=images, settings=settings
    )
    findings = [
        *_unknown_versions(served.frame, models),
        *_off_scale(served.frame),
        *_unscored(served.snapshots, served.unscored, settings, has_places=bool(served.places)),
    ]
    compared = []
    for (version,), rows in drawn.filter(pl.col("sha256").is_not_null()).group_by(
        ["model_version"], maintain_order=True
    ):
        one = VersionAudit(str(version), rows, models, images=images, settings=settings)
        compared.append(one.compare())
        findings += one.findings
    of_other_making = [one.model_version for one in findings if one.name in OF_OTHER_MAKING]
    own = named.filter(~pl.col("model_version").is_in(of_other_making))
    drifts = _drifts(own, models, database, store=store, images=images, settings=settings)
    for version, moved in drifts.items():
        findings += _drifted(version, [one for one in moved if one.alarms])
    order = list(FINDINGS)
    return ServedAudit(
        rows=pl.concat([pl.DataFrame(schema=SERVED_ROWS_TABLE.schema), *compared]),
        findings=tuple(sorted(findings, key=lambda one: order.index(one.name))),
        snapshots=served.snapshots,
        unscored=served.unscored,
        stored={
            str(name): int(rows)
            for name, rows in served.frame.group_by("model_version")
            .len()
            .sort("model_version")
            .rows()
        },
        unreadable=drawn["sha256"].null_count(),
        places=served.places,
        drift=drifts,
    )


def _drifts(
    own: pl.DataFrame,
    models: Mapping[str, StoredArtifact],
    database: LabelDatabase,
    *,
    store: ArtifactStore,
    images: ImageCache,
    settings: AuditSettings,
) -> dict[str, tuple[Drift, ...]]:
    """Compare what each live model scores with the test split that it was judged on."""
    found = {}
    for (version,), now in own.group_by(["model_version"], maintain_order=True):
        then = frames_of_test_split(store, models[str(version)], images=images)
        if then is not None:
            seen = _draw(now, settings.drift_pictures, settings)
            seen = _with_pictures(seen, database, images=images, settings=settings)
            frames = now.join(seen.select("snapshot_id", "sha256"), on="snapshot_id", how="left")
            found[str(version)] = tuple(drift(then, with_pictures_described(frames, images)))
    return found


def _drifted(version: str, moved: Sequence[Drift]) -> Iterator[Finding]:
    if moved:
        frames = max(one.frames for one in moved)
        chance = min(one.p_value for one in moved)
        yield Finding(DRIFT, version, frames, frames, chance, sentence_of(moved))


def _on_scale() -> pl.Expr:
    raw, rating = pl.col("raw_score"), pl.col("ai_rating")
    fits = (rating - rating_of(raw)).abs() <= LARGEST_ROUNDING
    return (raw.is_between(0, 1) & fits).fill_null(False)


def _off_scale(frame: pl.DataFrame) -> Iterator[Finding]:
    for (version,), rows in frame.group_by(["model_version"], maintain_order=True):
        off = rows.filter(~_on_scale())
        if off.height:
            row = off.row(0, named=True)
            yield Finding(
                SCORES_OFF_SCALE,
                str(version),
                off.height,
                rows.height,
                None,
                f"{off.height:,} of {rows.height:,} scores of {version} are off their scale: at snapshot "
                f"{row['snapshot_id']} raw_score is {row['raw_score']} and ai_rating {row['ai_rating']}. "
                "raw_score is 0 to 1, ai_rating is 1 + 4 · raw_score (docs/runtime.md).",
            )


def _unknown_versions(frame: pl.DataFrame, models: Mapping[str, object]) -> Iterator[Finding]:
    known = {*models, BASELINE_VERSION}
    counts = frame.group_by("model_version", maintain_order=True).len()
    for version, rows in counts.filter(~pl.col("model_version").is_in(list(known))).iter_rows():
        yield Finding(
            UNKNOWN_VERSION,
            str(version),
            int(rows),
            frame.height,
            None,
            f"{rows:,} of {frame.height:,} scores stand under {version}, which is no model of this "
            "store: nothing can be said of them. Was the file made elsewhere, or AI_MODEL_VERSION written "
            "by hand?",
        )


def _unscored(
    snapshots: int, unscored: int, settings: AuditSettings, *, has_places: bool
) -> Iterator[Finding]:
    if has_places and unscored > settings.max_unscored_fraction * snapshots:
        yield Finding(
            UNSCORED_FRAMES,
            None,
            unscored,
            snapshots,
            None,
            f"{unscored:,} of {snapshots:,} snapshots of {settings.days} days have no score "
            f"({unscored / snapshots:.0%}; max_unscored_fraction allows "
            f"{settings.max_unscored_fraction:.0%}). The application's log says why pictures fail.",
        )


def _draw(frame: pl.DataFrame, pictures: int, settings: AuditSettings) -> pl.DataFrame:
    """Draw rows of each version: of a webcam and day one, of webcams in turn."""
    lots = np.random.default_rng(settings.random_state).random(frame.height)
    return (
        frame.with_columns(day=pl.col("captured_at").str.head(10), lot=pl.Series(lots))
        .sort("lot")
        .unique(["model_version", "webcam_id", "day"], keep="first", maintain_order=True)
        .with_columns(turn=pl.int_range(pl.len()).over("model_version", "webcam_id"))
        .sort("model_version", "turn", "lot")
        .group_by("model_version", maintain_order=True)
        .head(pictures)
    )


def _with_pictures(
    drawn: pl.DataFrame, database: LabelDatabase, *, images: ImageCache, settings: AuditSettings
) -> pl.DataFrame:
    """Fetch the pictures; `known_sha256` is what the cache had before."""
    sources = read_image_sources(database, drawn["snapshot_id"].unique().to_list())
    before = [images.recall(source) for source in sources["image_path_or_url"]]
    known = sources.with_columns(
        known_sha256=pl.Series(
            [None if one is None else one.sha256 for one in before], dtype=pl.String
        )
    )
    index = index_what_can_be_read(sources, cache=images, settings=settings.images)
    found = known.join(index.usable().select("snapshot_id", "sha256"), on="snapshot_id", how="left")
    return drawn.join(found, on="snapshot_id", how="left", maintain_order="left")
