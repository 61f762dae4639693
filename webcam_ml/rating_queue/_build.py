"""From the label database and what is stored to a queue."""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from webcam_ml.contracts import RATING_QUEUE_TABLE
from webcam_ml.dataset import Manifest
from webcam_ml.dataset.duplicates import ComparedImages, groups_of
from webcam_ml.dataset.images import ImageCache
from webcam_ml.labels import Judgements, LabelDatabase, Unrated, read_image_sources, read_unrated
from webcam_ml.progress import track
from webcam_ml.rating_queue._conflicts import judge_conflicts
from webcam_ml.rating_queue._pictures import Pictures
from webcam_ml.rating_queue._queue import QueueMeta, RatingQueue, Share
from webcam_ml.rating_queue._rule import (
    RANDOM,
    UNCERTAIN,
    Shares,
    choose,
    newest_in_turn,
    shares_of,
    uncertainty,
    with_lots,
)
from webcam_ml.rating_queue._settings import RatingQueueSettings
from webcam_ml.store import StoredArtifact
from webcam_ml.training import Checkpoint, predict

logger = logging.getLogger(__name__)

# A camera whose picture cannot be shown is asked for another one, then passed over; and after so many
# rounds of replacing what cannot be shown the queue stays shorter. Dead hosts must not hold up a run.
FRAMES_A_CAMERA = 3
ROUNDS = 10
# Features of so many pictures are in memory at once.
SCORED_AT_ONCE = 10_000


@dataclass(frozen=True, eq=False)
class QueueResult:
    """A queue, and what is not part of it.

    Attributes:
        queue: What to rate.
        pictures: snapshot_id → SHA-256 of the picture of each frame in the queue.
        features_computed: Pictures that went through the backbone now.
        features_reused: Pictures whose features were kept.
    """

    queue: RatingQueue
    pictures: dict[int, str]
    features_computed: int
    features_reused: int


def build_rating_queue(
    checkpoint: StoredArtifact,
    manifest_full: Manifest,
    compared_images: ComparedImages,
    *,
    judged: Judgements | None,
    settings: RatingQueueSettings,
    database: Callable[[], LabelDatabase],
    images: ImageCache,
    cache: Path,
) -> QueueResult:
    """Choose the frames to rate next.

    The database is read as it is now: what was rated since the labels were read is not shown, and counts
    for its camera. Equal inputs and an equal database give an equal queue.

    Args:
        checkpoint: The newest model, whose doubts are asked about.
        manifest_full: How webcams are divided, and which are one camera.
        compared_images: Pictures of its rows, and known placeholders.
        judged: What each judge said; None where the labels hear none.
        settings: Length and shares of the queue.
        database: Opens the label database.
        images: Where pictures are kept.
        cache: Root of the caches.

    Raises:
        LabelDatabaseError: The label database cannot be read, or is not the one that the labels came
            from.
    """
    source = database()
    source.require_origin(checkpoint.lineage.database or {})
    meta = manifest_full.meta
    unrated = read_unrated(source, meta.query)
    candidates = with_lots(_candidates(unrated, manifest_full))
    pictures = Pictures(
        database=source,
        images=images,
        cache=cache,
        settings=settings.images,
        placeholders=compared_images.near_duplicates.placeholders["sha256"],
    )
    rated = unrated.rated.filter(pl.col("webcam_id").is_not_null())
    index = compared_images.index
    pictures.know_rated(
        rated.join(index.usable().select("snapshot_id", "sha256"), on="snapshot_id")
    )
    since = rated.join(index.frame, on="snapshot_id", how="anti")
    pictures.fetch_rated(newest_in_turn(since.with_columns(camera_id="webcam_id"), settings.pool))
    shares = shares_of(settings.size, split=meta.split_config, random_share=settings.random_share)
    scores = _Scores.none()
    if shares["train", UNCERTAIN]:
        pool = newest_in_turn(candidates.filter(pl.col("split") == "train"), settings.pool)
        pictures.fetch(pool)
        scores = _score(
            pictures.showable(pool), checkpoint.load(Checkpoint), images=images, cache=cache
        )
    picks = _pick(
        candidates.join(
            scores.frame.select("snapshot_id", uncertainty=uncertainty(pl.col("raw_score"))),
            on="snapshot_id",
            how="left",
        ),
        shares,
        pictures,
    )
    labelled = manifest_full.frame.filter(pl.col("rating_count") > 0)
    conflicts = None
    if judged is not None:
        conflicts = judge_conflicts(
            judged, manifest_full, rated=unrated.rated["snapshot_id"], index=index
        )
    addresses = read_image_sources(source, picks["snapshot_id"].to_list())
    queue = RatingQueue(
        frame=picks.with_columns(reason=_reason())
        .join(addresses, on="snapshot_id", how="left", maintain_order="left")
        .select(RATING_QUEUE_TABLE.names),
        meta=QueueMeta(
            size=settings.size,
            pool=settings.pool,
            random_share=settings.random_share,
            rated=unrated.rated.height,
            rated_since_or_dropped=unrated.rated.join(
                labelled, on="snapshot_id", how="anti"
            ).height,
            unrated=unrated.frame.height + sum(unrated.left_out.values()),
            scored=scores.frame.height,
            shares=_found(shares, picks),
            not_shown={**unrated.left_out, **pictures.counts()},
            unreadable=pictures.failures(),
            conflicts=None if conflicts is None else conflicts.height,
        ),
        conflicts=None if conflicts is None else conflicts.head(settings.size),
    )
    if queue.meta.shortfall is not None:
        logger.warning("%s", queue.meta.shortfall)
    return QueueResult(
        queue=queue,
        pictures=pictures.showable(picks),
        features_computed=scores.computed,
        features_reused=scores.reused,
    )


def _candidates(unrated: Unrated, manifest: Manifest) -> pl.DataFrame:
    """Say of each unrated frame its camera, the split of that, and how many frames of it are rated."""
    meta = manifest.meta
    if meta.duplicate_webcams is not None:
        # Also of webcams without labels: aimed anew, a camera of test is no camera of training.
        merged = meta.duplicate_webcams.joined_by(groups_of(unrated.devices))
        meta = replace(meta, duplicate_webcams=merged)
    rated = unrated.rated.filter(pl.col("webcam_id").is_not_null())
    rated_of = rated.group_by(camera_id=meta.cameras(rated["webcam_id"])).agg(
        rated=pl.len().cast(pl.Int64)
    )
    frames = unrated.frame
    return (
        frames.with_columns(camera_id=meta.cameras(frames["webcam_id"]))
        .join(
            meta.splits_of(frames["webcam_id"]), on="webcam_id", how="left", maintain_order="left"
        )
        .join(rated_of, on="camera_id", how="left", maintain_order="left")
        .with_columns(pl.col("rated").fill_null(0))
    )


@dataclass(frozen=True, eq=False)
class _Scores:
    """What the model says of frames: `snapshot_id`, `raw_score`; and how many passes that took."""

    frame: pl.DataFrame
    computed: int
    reused: int

    @classmethod
    def none(cls) -> "_Scores":
        schema = {"snapshot_id": pl.Int64, "raw_score": pl.Float64}
        return cls(pl.DataFrame(schema=schema), computed=0, reused=0)


def _score(
    digests: dict[int, str], checkpoint: Checkpoint, *, images: ImageCache, cache: Path
) -> _Scores:
    frames = pl.DataFrame(
        {"snapshot_id": list(digests), "sha256": list(digests.values())},
        schema={"snapshot_id": pl.Int64, "sha256": pl.String},
    )
    scores = _Scores.none()
    starts = range(0, frames.height, SCORED_AT_ONCE)
    for start in track(
        starts,
        total=len(starts),
        what="scoring unrated frames",
        unit=f"blocks of {SCORED_AT_ONCE:,}",
    ):
        some = frames.slice(start, SCORED_AT_ONCE)
        predicted = predict(checkpoint, some, images=images, cache=cache)
        scored = some.select("snapshot_id", pl.Series("raw_score", predicted.raw_score))
        scores = _Scores(
            pl.concat([scores.frame, scored]),
            computed=scores.computed + predicted.features_computed,
            reused=scores.reused + predicted.features_reused,
        )
    return scores


def _pick(candidates: pl.DataFrame, shares: Shares, pictures: Pictures) -> pl.DataFrame:
    """Choose, look at what was chosen, and replace what cannot be shown."""
    lost_of: Counter[int] = Counter()
    picks = candidates.head(0)
    for _ in range(ROUNDS):
        passed_over = [camera for camera, lost in lost_of.items() if lost >= FRAMES_A_CAMERA]
        picks = choose(
            candidates.filter(
                ~pl.col("snapshot_id").is_in(list(pictures.refused())),
                ~pl.col("camera_id").is_in(passed_over),
            ),
            shares,
        )
        pictures.fetch(picks)
        pictures.compare(picks)
        lost = picks.filter(pl.col("snapshot_id").is_in(list(pictures.refused())))
        if lost.is_empty():
            return picks
        lost_of.update(lost["camera_id"])
    return picks.join(lost, on="snapshot_id", how="anti", maintain_order="left")


def _found(shares: Shares, picks: pl.DataFrame) -> tuple[Share, ...]:
    counts = Counter(picks.select("split", "picked_by").iter_rows())
    return tuple(Share(*kind, wanted=wanted, found=counts[kind]) for kind, wanted in shares.items())


def _reason() -> pl.Expr:
    rated = (
        pl.when(pl.col("rated") == 0)
        .then(pl.lit("no frame of its camera is rated yet"))
        .when(pl.col("rated") == 1)
        .then(pl.lit("1 frame of its camera is rated so far"))
        .otherwise(pl.format("{} frames of its camera are rated so far", "rated"))
    )
    return (
        pl.when(pl.col("picked_by") == RANDOM)
        .then(pl.format("drawn at random; {}", rated))
        .otherwise(pl.format("the model is undecided; {}", rated))
    )
