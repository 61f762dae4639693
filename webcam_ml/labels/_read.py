"""Reading labels: what a label is, and two ways to ask for it.

`read_labels` selects rows in three plain statements in one transaction, and a few more where the
source hears judges; counting and averaging
happen in polars, so that PostgreSQL and SQLite give the same bits, and a million rated snapshots
take seconds. Snapshots that nobody rated are counted by the database and never sent.
`read_label_values` asks only for what decides a label, in one statement. Which snapshot has a label,
and which label, is decided for both in one place: the label source and `_with_label_and_drop_reason`.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import polars as pl
import sqlalchemy as sa

from webcam_ml.contracts import LABELS_TABLE, STAR_COLUMNS, STARS, WEBCAM_COLUMNS
from webcam_ml.labels._captured_at import with_utc_text
from webcam_ml.labels._database import LabelDatabase, LabelDatabaseError
from webcam_ml.labels._devices import read_devices, with_several_webcams
from webcam_ml.labels._enough import are_enough, require_enough
from webcam_ml.labels._external import read_external_images
from webcam_ml.labels._integrity import require_averages_on_scale, require_key, require_stars
from webcam_ml.labels._judgements import Judgements
from webcam_ml.labels._labels import (
    DROP_REASONS,
    LabelCounts,
    Labels,
)
from webcam_ml.labels._no_votes import count_no_votes
from webcam_ml.labels._query import LabelQuery
from webcam_ml.labels._scores import read_scores
from webcam_ml.labels._sessions import require_known_sessions
from webcam_ml.labels._sources import mean
from webcam_ml.labels._stream import fetch
from webcam_ml.labels._tables import RATINGS, SNAPSHOTS, WEBCAMS, stripped
from webcam_ml.labels._values import VALUE_COLUMNS, LabelValues, judged_values
from webcam_ml.labels._votes import STARS_KIND, read_votes

logger = logging.getLogger(__name__)

SEMI_AND_ANTI: tuple[Literal["semi", "anti"], ...] = ("semi", "anti")

REPEATED_WEBCAMS = "Each of their snapshots would become several labels"
REPEATED_SNAPSHOTS = "Each would become several labels"
REPEATED_RATINGS = (
    "One person rates a snapshot once: more ratings would seem to be behind a label than there are"
)


# Of a snapshot, what decides beside ratings whether it has a label, and which.
DECIDING_COLUMNS = (
    SNAPSHOTS.c.webcam_id,
    # Only whether there is an image matters, so one character is enough.
    sa.func.substr(stripped(SNAPSHOTS.c.firebase_url), 1, 1),
    SNAPSHOTS.c.calculated_rating,
)
DECIDING_SCHEMA: dict[str, type[pl.DataType]] = {
    "webcam_id": pl.Int64,
    "image_path_or_url": pl.String,
    "cached_rating": pl.Float64,
}


def read_labels(database: LabelDatabase, query: LabelQuery) -> Labels:
    """Read the labelled snapshots that a query asks for.

    Everything is read in one transaction, so that ratings which arrive meanwhile are in all of the
    result or in none of it. The query's source says how they become a label. A cached average
    that is NaN counts as missing. Texts are stripped of blanks; an empty one counts as NULL.

    Args:
        database: Where the labels are.
        query: Which ratings count, and how many a label needs.

    Raises:
        LabelDatabaseError: The database cannot be read, lacks a table or column, or holds a value
            of the wrong kind in one.
        TooFewLabelsError: Fewer than 10 snapshots or 3 webcams are left; the message names the
            setting that would bring more.
    """
    with database.reading() as connection:
        database.require_columns(
            connection,
            {table.name: table.columns.keys() for table in (SNAPSHOTS, RATINGS, WEBCAMS)},
        )
        _require_keys(connection)
        require_key(connection, [WEBCAMS.c.id], consequence=REPEATED_WEBCAMS)
        require_known_sessions(connection, query, database=database)
        snapshots, cached, votes = _totals(connection)
        ratings = _read_ratings(connection, query, total=votes)
        require_stars(ratings, table=RATINGS.name)
        if query.hears_judges:
            asked = query.external_images
            scores = read_scores(connection, database, query.judges, external_images=asked)
            people = read_votes(connection, database, ratings, external_images=asked)
            external = read_external_images(connection, database) if asked else None
            known = _read_snapshots(connection, sa.true(), total=snapshots)
            pictures = [known] if external is None else [known, external]
            people = people.on(pl.concat(one.select("snapshot_id") for one in pictures))
            ratings = people.frame
            rated, alone = (known.join(ratings, on="snapshot_id", how=how) for how in SEMI_AND_ANTI)
            no_votes = None
        else:
            total = ratings["snapshot_id"].n_unique()
            rated = _read_snapshots(connection, _has_stars(), total=total)
            no_votes = count_no_votes(connection, database)
        webcams = _read_webcams(connection)
        devices = read_devices(connection, database)
    cached_only = cached - rated["cached_rating"].count()
    candidates = _candidates(rated, ratings, webcams, query=query)
    labelled = candidates.filter(pl.col("drop").is_null())
    judged = None
    if query.hears_judges:
        alone = alone.join(webcams, on="webcam_id", how="left")
        judged = Judgements.of(people, scores, labelled=labelled, alone=alone, external=external)
    del rated, ratings, webcams
    _require_labels_on_scale(labelled, query)
    reasons = candidates.group_by("drop").len()
    dropped = dict(zip(reasons["drop"], reasons["len"], strict=True))
    dropped["unrated"] = snapshots - candidates.height
    histogram = candidates.group_by("rating_count").len().sort("rating_count")
    labels = Labels(
        frame=labelled.select(LABELS_TABLE.names),
        query=query,
        drops={reason: dropped.get(reason, 0) for reason in DROP_REASONS},
        counts=LabelCounts(
            snapshots=snapshots,
            rated_snapshots=candidates.height,
            cached_only_snapshots=cached_only,
            rating_counts=dict(zip(histogram["rating_count"], histogram["len"], strict=True)),
            unused_no_votes=no_votes,
        ),
        judged=judged,
    )
    _require_keys_from_zero(labels.snapshots())
    labels = replace(labels, devices=with_several_webcams(devices, labels.snapshots()["webcam_id"]))
    require_enough(labels, database=str(database))
    logger.info(
        "labels: %d of %d rated snapshots, from %d webcams in %s",
        labels.frame.height,
        labels.counts.rated_snapshots,
        labels.frame["webcam_id"].n_unique(),
        database,
    )
    if judged is not None:
        logger.info("labels: votes and scores %s, by judges %s", judged.counts, judged.judges)
    if no_votes:
        logger.info(
            'labels: %d N votes ("no sunset") are not used by label_source %s',
            no_votes,
            query.label_source,
        )
    return labels


def read_label_values(database: LabelDatabase, query: LabelQuery) -> LabelValues:
    """Read which snapshots have which label, and nothing else: cheap enough to call often.

    The values are those that `read_labels` gives for the same query at the same moment.

    Args:
        database: Where the labels are.
        query: Which ratings count, and how many a label needs.

    Raises:
        LabelDatabaseError: As `read_labels`, except that the columns that decide nothing (titles,
            time stamps) are not looked at.
        TooFewLabelsError: As `read_labels`.
    """
    with database.reading() as connection:
        database.require_columns(
            connection, {table.name: table.columns.keys() for table in (SNAPSHOTS, RATINGS)}
        )
        _require_keys(connection)
        require_known_sessions(connection, query, database=database)
        rows, judged = (
            _read_heard(connection, database, query)
            if query.hears_judges
            else (_read_narrow(connection, query), None)
        )
    require_stars(rows, table=RATINGS.name)
    rated = rows.unique("snapshot_id").join(
        _per_snapshot(rows, query), on="snapshot_id", how="left"
    )
    labelled = _with_label_and_drop_reason(rated, query).filter(pl.col("drop").is_null())
    _require_labels_on_scale(labelled, query)
    for pictures in (labelled, judged):
        if pictures is not None:
            _require_keys_from_zero(pictures)
    if are_enough(labelled):
        return LabelValues(labelled.select(VALUE_COLUMNS).sort("snapshot_id"), judged)
    # Too few: reading them in full raises the error of labels_raw, with the reasons and counts.
    return LabelValues.of(read_labels(database, query))


def _require_keys(connection: sa.Connection) -> None:
    """Check the keys by which snapshots and ratings are joined and counted."""
    require_key(connection, [SNAPSHOTS.c.id], consequence=REPEATED_SNAPSHOTS)
    require_key(
        connection,
        [RATINGS.c.snapshot_id, RATINGS.c.user_session_id],
        among=RATINGS.c.rating.is_not(None),
        consequence=REPEATED_RATINGS,
    )


def _require_keys_from_zero(rows: pl.DataFrame) -> None:
    """Refuse keys below zero: those are of pictures from elsewhere."""
    for table, key in ((SNAPSHOTS, "snapshot_id"), (WEBCAMS, "webcam_id")):
        below = rows.filter(pl.col(key) < 0)
        if below.height:
            raise LabelDatabaseError(
                f"Table {table.name}: id is {below[key].sort()[0]}. Nothing was read. Number {table.name} "
                "from 0: ids below it stand for pictures that are of no webcam."
            )


def _require_labels_on_scale(labelled: pl.DataFrame, query: LabelQuery) -> None:
    """Check labels that come as averages; those of rating rows come from stars already checked."""
    if query.takes_cached:
        require_averages_on_scale(
            labelled, table=SNAPSHOTS.name, column=SNAPSHOTS.c.calculated_rating.name
        )


def _read_narrow(connection: sa.Connection, query: LabelQuery) -> pl.DataFrame:
    """Every rating row with stars, and what decides a label; `counts` as in `_read_ratings`."""
    statement = _ratings(query).join(SNAPSHOTS, SNAPSHOTS.c.id == RATINGS.c.snapshot_id)
    return fetch(
        connection,
        statement.add_columns(*DECIDING_COLUMNS),
        {**_ratings_schema(query), **DECIDING_SCHEMA},
        total=0,
        what=SNAPSHOTS.name,
    )


def _read_heard(
    connection: sa.Connection, database: LabelDatabase, query: LabelQuery
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same of every vote of people, and what judges said where there is none."""
    stars = _read_ratings(connection, query, total=0)
    require_stars(stars, table=RATINGS.name)
    # Of snapshots alone, but heard and refused as labels_raw does it.
    asked = query.external_images
    scores = read_scores(connection, database, query.judges, external_images=asked).frame
    votes = read_votes(connection, database, stars, external_images=asked).frame
    statement = sa.select(SNAPSHOTS.c.id, *DECIDING_COLUMNS)
    schema: dict[str, type[pl.DataType]] = {"snapshot_id": pl.Int64, **DECIDING_SCHEMA}
    snapshots = fetch(connection, statement, schema, total=0, what=SNAPSHOTS.name)
    alone = snapshots.join(votes, on="snapshot_id", how="anti").drop_nulls(
        ["webcam_id", "image_path_or_url"]
    )
    return votes.join(snapshots, on="snapshot_id"), judged_values(alone, scores)


def _read_ratings(connection: sa.Connection, query: LabelQuery, *, total: int) -> pl.DataFrame:
    """Every rating row with stars; with sessions, `counts` says whether it counts."""
    return fetch(
        connection, _ratings(query), _ratings_schema(query), total=total, what=RATINGS.name
    )


def _ratings(query: LabelQuery) -> sa.Select[Any]:
    statement = sa.select(RATINGS.c.snapshot_id, RATINGS.c.rating)
    if query.curator_sessions:
        chosen = RATINGS.c.user_session_id.in_(query.curator_sessions)
        statement = statement.add_columns(sa.case((chosen, 1), else_=0))
    return statement.where(RATINGS.c.rating.is_not(None))


def _ratings_schema(query: LabelQuery) -> dict[str, type[pl.DataType]]:
    counts: dict[str, type[pl.DataType]] = {"counts": pl.Int64} if query.curator_sessions else {}
    return {"snapshot_id": pl.Int64, "rating": pl.Float64, **counts}


def _has_stars() -> sa.ColumnElement[bool]:
    return SNAPSHOTS.c.id.in_(sa.select(RATINGS.c.snapshot_id).where(RATINGS.c.rating.is_not(None)))


def _read_snapshots(
    connection: sa.Connection, which: sa.ColumnElement[bool], *, total: int
) -> pl.DataFrame:
    """Some snapshots, in the order of their ids."""
    statement = sa.select(
        SNAPSHOTS.c.id,
        SNAPSHOTS.c.webcam_id,
        stripped(SNAPSHOTS.c.firebase_url),
        stripped(SNAPSHOTS.c.phase),
        sa.cast(SNAPSHOTS.c.captured_at, sa.Text),
        SNAPSHOTS.c.calculated_rating,
    ).where(which)
    schema: dict[str, type[pl.DataType]] = {
        "snapshot_id": pl.Int64,
        "webcam_id": pl.Int64,
        "image_path_or_url": pl.String,
        "phase": pl.String,
        "captured_at": pl.String,
        "cached_rating": pl.Float64,
    }
    frame = fetch(connection, statement, schema, total=total, what=SNAPSHOTS.name)
    # Ordered here: the database would walk the table by its index, page by page in random order.
    return with_utc_text(frame.sort("snapshot_id"), table=SNAPSHOTS.name)


def _read_webcams(connection: sa.Connection) -> pl.DataFrame:
    """What is known of every webcam."""
    webcam_id, *texts = WEBCAMS.c
    statement = sa.select(webcam_id, *(stripped(column) for column in texts))
    total = connection.scalar(sa.select(sa.func.count()).select_from(WEBCAMS))
    return fetch(
        connection,
        statement,
        {"webcam_id": pl.Int64, **{column.name: column.dtype for column in WEBCAM_COLUMNS}},
        total=total or 0,
        what=WEBCAMS.name,
    )


def _totals(connection: sa.Connection) -> tuple[int, int, int]:
    """Count snapshots, cached averages and ratings."""
    snapshots, cached = connection.execute(
        sa.select(sa.func.count(), sa.func.count(SNAPSHOTS.c.calculated_rating)).select_from(
            SNAPSHOTS
        )
    ).one()
    votes = connection.execute(sa.select(sa.func.count(RATINGS.c.rating))).scalar_one()
    return snapshots, cached, votes


def _candidates(
    rated: pl.DataFrame, ratings: pl.DataFrame, webcams: pl.DataFrame, *, query: LabelQuery
) -> pl.DataFrame:
    """Join what was read: every rated snapshot, with its label and the reason to drop it."""
    # The application's average, with which it is compared, is one of stars alone.
    stars = ratings.filter(pl.col("kind") == STARS_KIND) if query.hears_judges else ratings
    averages = stars.group_by("snapshot_id").agg(fresh_rating=mean(pl.col("rating")))
    joined = rated
    for found, key in (
        (averages, "snapshot_id"),
        (_per_snapshot(ratings, query, stars=STARS), "snapshot_id"),
        (webcams, "webcam_id"),
    ):
        joined = joined.join(found, on=key, how="left", maintain_order="left")
    return _with_label_and_drop_reason(
        joined.with_columns(
            pl.col(*STAR_COLUMNS).fill_null(0), label_source=pl.lit(query.label_source)
        ),
        query,
    )


def _with_label_and_drop_reason(rated: pl.DataFrame, query: LabelQuery) -> pl.DataFrame:
    """Give rated snapshots their label and the reason to drop them: what a label is.

    Args:
        rated: With webcam_id, image_path_or_url, cached_rating, and what `_per_snapshot` gives.
        query: Which ratings count, and how many a label needs.

    Returns:
        The same rows with `label_value` and `drop`, which is null where the label stays.
    """
    return (
        rated.with_columns(
            pl.col("cached_rating").fill_nan(None), pl.col("rating_count").fill_null(0)
        )
        .with_columns(label_value=pl.col("cached_rating" if query.takes_cached else "of_ratings"))
        .with_columns(
            drop=pl.when(pl.col("webcam_id").is_null())
            .then(pl.lit("no_webcam"))
            .when(pl.col("image_path_or_url").is_null())
            .then(pl.lit("no_image"))
            .when(pl.col("label_value").is_null())
            .then(pl.lit("no_label"))
            .when(pl.col("rating_count") < query.min_rating_count)
            .then(pl.lit("too_few_ratings"))
        )
    )


def _per_snapshot(
    ratings: pl.DataFrame, query: LabelQuery, *, stars: Sequence[int] = ()
) -> pl.DataFrame:
    """Count the ratings that count, some by their stars too, and let the source aggregate them."""
    counted = ratings.filter(pl.col("counts") == 1) if query.curator_sessions else ratings
    return counted.group_by("snapshot_id").agg(
        pl.len().cast(pl.Int64).alias("rating_count"),
        query.source.of_ratings(pl.col("rating")).cast(pl.Float64).alias("of_ratings"),
        *(
            (pl.col("rating") == number).sum().cast(pl.Int64).alias(f"stars_{number}")
            for number in stars
        ),
    )
