"""The tables of the store, each declared here and nowhere else.

A new column of the table webcams is one entry in `WEBCAM_COLUMNS`: it is read from the database,
stored with the labels, and travels through the manifests into evaluation and, with `sliced_as`, into
the slices of the report. Columns that are added to a table are not `needed`, so that what was stored
before stays readable.
"""

import polars as pl

from webcam_ml.contracts._ratings import PEOPLE, STAR_COLUMNS
from webcam_ml.contracts._tables import Column, Table

SNAPSHOT_ID = Column("snapshot_id", pl.Int64)
WEBCAM_ID = Column("webcam_id", pl.Int64)
LABEL_SOURCE = Column("label_source", pl.String)
LABEL_VALUE = Column("label_value", pl.Float64)
RATING_COUNT = Column("rating_count", pl.Int64)
IMAGE = Column("image_path_or_url", pl.String)
PHASE = Column("phase", pl.String, needed=False, sliced_as="phase")
CAPTURED_AT = Column("captured_at", pl.String, needed=False)
SPLIT = Column("split", pl.String)
STARS = tuple(Column(name, pl.Int64) for name in STAR_COLUMNS)

# What the database says of a webcam. Each is the text column of the table webcams that has the name
# without "webcam_".
WEBCAM_COLUMNS = (
    Column("webcam_title", pl.String, needed=False),
    Column("webcam_source", pl.String, needed=False, sliced_as="webcam source"),
)

LABELS_TABLE = Table(
    (
        SNAPSHOT_ID,
        WEBCAM_ID,
        LABEL_SOURCE,
        LABEL_VALUE,
        RATING_COUNT,
        IMAGE,
        PHASE,
        CAPTURED_AT,
        Column("cached_rating", pl.Float64, needed=False),
        Column("fresh_rating", pl.Float64),
        *STARS,
        *WEBCAM_COLUMNS,
    ),
    made_by="labels_raw",
)

# Webcams of devices that own several, where the database knows of some.
DEVICES_TABLE = Table((WEBCAM_ID, Column("device_id", pl.Int64)), made_by="labels_raw")

# What each judge said, where a label source hears more than people.
JUDGEMENTS_TABLE = Table(
    (
        SNAPSHOT_ID,
        Column("kind", pl.String),
        Column("judge", pl.String, needed=False),
        Column("value", pl.Float64),
        Column("votes", pl.Int64),
        Column("spread", pl.Float64, needed=False),
    ),
    made_by="labels_raw",
)

# Snapshots that a judge scored and no person voted on.
JUDGED_SNAPSHOTS_TABLE = Table(
    (SNAPSHOT_ID, WEBCAM_ID, IMAGE, PHASE, CAPTURED_AT, *WEBCAM_COLUMNS), made_by="labels_raw"
)

# Pictures of no webcam that a judge scored or a curator labelled. `snapshot_id` is minus their id, and
# `webcam_id` minus the least id of their owner's: a key space in which no snapshot and no webcam is.
EXTERNAL_IMAGES_TABLE = Table(
    (
        SNAPSHOT_ID,
        WEBCAM_ID,
        IMAGE,
        Column("picture_source", pl.String, needed=False),
        Column("picture_owner", pl.String, needed=False),
        Column("picture_licence", pl.String, needed=False),
    ),
    made_by="labels_raw",
)
OF_A_WEBCAM = pl.col("webcam_id") >= 0

MANIFEST_TABLE = Table(
    (
        SNAPSHOT_ID,
        WEBCAM_ID,
        LABEL_SOURCE,
        LABEL_VALUE,
        Column("target_label", pl.Float64),
        SPLIT,
        IMAGE,
        PHASE,
        CAPTURED_AT,
        RATING_COUNT,
    ),
    made_by="manifest_full",
)

LABEL_WEIGHT = Column("label_weight", pl.Float64, needed=False, default=1.0)
LABEL_ORIGIN = Column("label_origin", pl.String, needed=False, default=PEOPLE)

# A manifest whose labels are not all people's.
JUDGED_MANIFEST_TABLE = Table(
    (*MANIFEST_TABLE.columns, LABEL_WEIGHT, LABEL_ORIGIN), made_by="manifest_full"
)

# What models are judged and calibrated on, of a manifest whose labels are not all people's.
PEOPLE_ON_WEBCAMS = (pl.col("label_origin") == PEOPLE) & OF_A_WEBCAM

DETAILS_TABLE = Table((SNAPSHOT_ID, *WEBCAM_COLUMNS, *STARS), made_by="manifest_full")

# The same of a manifest with pictures of no webcam.
EXTERNAL_DETAILS_TABLE = Table(
    (*DETAILS_TABLE.columns, *EXTERNAL_IMAGES_TABLE.columns[3:]), made_by="manifest_full"
)

IMAGE_INDEX_TABLE = Table(
    (
        SNAPSHOT_ID,
        Column("source", pl.String),
        Column("status", pl.String),
        Column("error", pl.String),
        Column("sha256", pl.String),
        Column("bytes", pl.Int64, needed=False),
        Column("width", pl.Int64, needed=False),
        Column("height", pl.Int64, needed=False),
        Column("format", pl.String, needed=False),
    ),
    made_by="image_index",
)

NEAR_DUPLICATES_TABLE = Table(
    (
        Column("webcam_a", pl.Int64),
        Column("webcam_b", pl.Int64),
        Column("snapshot_a", pl.Int64),
        Column("snapshot_b", pl.Int64),
        Column("sha256_a", pl.String),
        Column("sha256_b", pl.String),
        Column("correlation", pl.Float64),
        Column("split_a", pl.String),
        Column("split_b", pl.String),
    ),
    made_by="image_index",
)

PLACEHOLDERS_TABLE = Table(
    (
        Column("sha256", pl.String),
        Column("webcams", pl.Int64),
        Column("snapshots", pl.Int64),
        SNAPSHOT_ID,
    ),
    made_by="image_index",
)

PREDICTIONS_TABLE = Table(
    (
        SNAPSHOT_ID,
        WEBCAM_ID,
        SPLIT,
        Column("target", pl.Float64),
        Column("raw_score", pl.Float64),
        Column("kind", pl.String),
    ),
    made_by="checkpoint",
)

EVALUATED_TABLE = Table(
    (SNAPSHOT_ID, SPLIT, Column("target_label", pl.Float64), Column("raw_score", pl.Float64)),
    made_by="eval_report",
)

RELABEL_QUEUE_TABLE = Table(
    (
        Column("position", pl.Int64),
        SNAPSHOT_ID,
        WEBCAM_ID,
        Column("webcam_title", pl.String, needed=False),
        PHASE,
        CAPTURED_AT,
        SPLIT,
        Column("prediction_kind", pl.String),
        Column("human_rating", pl.Float64),
        RATING_COUNT,
        Column("ai_rating", pl.Float64),
        Column("expected_rating", pl.Float64),
        Column("direction", pl.String),
        Column("expected_correction", pl.Float64),
        Column("abs_diff", pl.Float64),
        Column("priority", pl.Float64),
        Column("asked_again_because", pl.String, needed=False),
        IMAGE,
    ),
    made_by="disagreement_report",
    quote_style="non_numeric",
)

RATING_QUEUE_TABLE = Table(
    (
        SNAPSHOT_ID,
        WEBCAM_ID,
        SPLIT,
        Column("picked_by", pl.String),
        Column("reason", pl.String, needed=False),
        Column("image_path_or_url", pl.String, needed=False),
    ),
    made_by="rating_queue",
)

JUDGE_CONFLICTS_TABLE = Table(
    (
        SNAPSHOT_ID,
        WEBCAM_ID,
        SPLIT,
        Column("lowest", pl.String),
        Column("lowest_stars", pl.Float64),
        Column("highest", pl.String),
        Column("highest_stars", pl.Float64),
        Column("difference", pl.Float64),
        Column("reason", pl.String, needed=False),
        Column("image_path_or_url", pl.String, needed=False),
    ),
    made_by="rating_queue",
)

SERVED_ROWS_TABLE = Table(
    (
        SNAPSHOT_ID,
        WEBCAM_ID,
        CAPTURED_AT,
        Column("model_version", pl.String),
        Column("raw_score", pl.Float64),
        Column("own_score", pl.Float64),
        Column("noise", pl.Float64),
        Column("verdict", pl.String),
    ),
    made_by="served_scores_audit",
)
