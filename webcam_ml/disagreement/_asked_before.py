"""What earlier reports asked to be rated again, and what came of it.

A label that somebody has looked at again is not asked for once more only because the next model, which
learned from one vote more, says of it what the last one said. What speaks for it anew is a vote that
contradicts that answer, or a model of another making. All of it follows from the queues in the store
and from the times of the votes; no state is kept.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from webcam_ml.contracts import RELABEL_QUEUE_TABLE, DocumentError, TableError
from webcam_ml.disagreement._document import DOCUMENT
from webcam_ml.disagreement._files import QUEUE_FILE
from webcam_ml.judging import training_facts
from webcam_ml.labels import LabelDatabase, read_dated_votes
from webcam_ml.live import stored_models, stored_versions
from webcam_ml.store import (
    ArtifactDamagedError,
    ArtifactMissingError,
    ArtifactStore,
    StoredArtifact,
)

logger = logging.getLogger(__name__)

# Neighbouring stars are how people differ every day.
STARS_APART = 2
ANOTHER_RATER, ANOTHER_MODEL = "another rater disagrees", "another model"
# What a retrain leaves as it is.
MAKING = ("strategy", "model_name", "weights", "image_size", "feature_stages", "store_weights")
ASKED_SCHEMA: dict[str, pl.DataType] = {
    "snapshot_id": pl.Int64(),
    "asked_at": pl.Datetime("us", "UTC"),
    "same_making": pl.Boolean(),
}


@dataclass(frozen=True)
class AskedBefore:
    """What is known of the labels that earlier reports asked for.

    Attributes:
        answered: snapshot_id → when it was rated again (UTC), of those not to be asked for once more.
        asked_again: snapshot_id → why it is asked for although it was rated again.
    """

    answered: Mapping[int, datetime] = field(default_factory=dict)
    asked_again: Mapping[int, str] = field(default_factory=dict)


def asked_before(
    snapshot_ids: pl.Series,
    *,
    model_version: str,
    origin: Mapping[str, Any],
    store: ArtifactStore,
    database: Callable[[], LabelDatabase],
) -> AskedBefore:
    """Find what earlier reports asked for, and ask the label database what was answered.

    Args:
        snapshot_ids: Those that are compared now.
        model_version: The model that they are compared with.
        origin: The label database as lineage.json describes it: queues of another one do not count.
        store: Where the reports and the models are.
        database: Opens the label database; called only if something was asked for.

    Raises:
        LabelDatabaseError: It cannot be read, or does not know when votes were given.
    """
    asked = _asked(store, origin, model_version).filter(
        pl.col("snapshot_id").is_in(snapshot_ids.implode())
    )
    if asked.is_empty():
        return AskedBefore()
    votes = read_dated_votes(database(), asked["snapshot_id"].unique().sort().to_list())
    return what_came_of_it(asked, votes)


def what_came_of_it(asked: pl.DataFrame, votes: pl.DataFrame) -> AskedBefore:
    """Tell what was answered, and what is to be asked all the same.

    An answer is the first vote since a report on a model of this making asked last. It is
    contradicted by a later vote of another rater that is `STARS_APART` or more from it.

    Args:
        asked: `snapshot_id`, `asked_at` (UTC) and `same_making` (whether the model that spoke for it
            was made like the one that is compared now) of each row of an earlier queue.
        votes: As `read_dated_votes` gives them.
    """
    last = (
        asked.filter("same_making")
        .group_by("snapshot_id")
        .agg(pl.col("asked_at").max().alias("last_asked"))
    )
    since = votes.join(last, on="snapshot_id").filter(pl.col("voted_at") > pl.col("last_asked"))
    answer = since.group_by("snapshot_id", maintain_order=True).agg(
        pl.col("rater", "rating", "voted_at").first().name.prefix("answer_"),
        rated_again=pl.col("voted_at").last(),
    )
    contradicted = since.join(answer, on="snapshot_id").filter(
        pl.col("voted_at") > pl.col("answer_voted_at"),
        pl.col("rater").ne_missing(pl.col("answer_rater")),
        (pl.col("rating") - pl.col("answer_rating")).abs() >= STARS_APART,
    )
    answered = answer.join(contradicted, on="snapshot_id", how="anti")
    of_other_models = asked.join(last, on="snapshot_id", how="anti")
    reviewed = votes.join(of_other_models, on="snapshot_id").filter(
        pl.col("voted_at") > pl.col("asked_at")
    )
    return AskedBefore(
        answered=dict(answered.select("snapshot_id", "rated_again").iter_rows()),
        asked_again=dict.fromkeys(reviewed["snapshot_id"], ANOTHER_MODEL)
        | dict.fromkeys(contradicted["snapshot_id"], ANOTHER_RATER),
    )


def _asked(store: ArtifactStore, origin: Mapping[str, Any], model_version: str) -> pl.DataFrame:
    """List the rows of all earlier queues, as `what_came_of_it` takes them."""
    models = stored_models(store)
    makings: dict[str, tuple[object, ...] | None] = {}

    def making(version: str) -> tuple[object, ...] | None:
        if version not in makings:
            makings[version] = _making(models.get(version), store)
        return makings[version]

    now = making(model_version)
    queues = [
        snapshot_ids.with_columns(
            asked_at=pl.lit(asked_at),
            # Of a model that is gone nothing is known that would speak for asking again.
            same_making=pl.lit(None in (now, making(version)) or now == making(version)),
        )
        for version, asked_at, snapshot_ids in _queues(store, origin)
    ]
    return pl.concat([pl.DataFrame(schema=ASKED_SCHEMA), *queues])


def _queues(
    store: ArtifactStore, origin: Mapping[str, Any]
) -> Iterator[tuple[str, datetime, pl.DataFrame]]:
    for stored in stored_versions(store, "disagreement_report"):
        if stored.lineage.database != origin:
            continue
        try:
            stored.verify()
            version = DOCUMENT.read(stored.folder)["model_version"]
            queue = RELABEL_QUEUE_TABLE.read(stored.folder / QUEUE_FILE, "snapshot_id")
        except (ArtifactDamagedError, DocumentError, TableError) as error:
            logger.warning("what this report asked for is passed over: %s", error)
            continue
        yield version, datetime.fromisoformat(stored.lineage.created_at), queue


def _making(model: StoredArtifact | None, store: ArtifactStore) -> tuple[object, ...] | None:
    """How a model was made; None if it is not in the store any more."""
    if model is None:
        return None
    try:
        facts = training_facts(model, store)
    except (ArtifactMissingError, ArtifactDamagedError) as error:
        logger.warning("how an earlier model was made cannot be told: %s", error)
        return None
    return tuple(facts[name] for name in MAKING)
