"""Labels of people with judges beside them, without a database."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from webcam_ml.contracts import EXTERNAL_IMAGES_TABLE, JUDGED_SNAPSHOTS_TABLE, JUDGEMENTS_TABLE
from webcam_ml.labels import Judgements, LabelQuery, Labels
from webcam_ml_tests.world import make_labels

Judge = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def good(stars: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A judge that sees what people see, on a scale of its own, in steps of .05."""
    seen = stars + random.normal(scale=0.8, size=len(stars))
    return np.round(np.clip(0.16 * (seen - 1), 0, 1) / 0.05) * 0.05


JUDGES: Mapping[str, Judge] = {
    "good": good,
    "noise": lambda stars, random: np.round(random.uniform(size=len(stars)), 2),
    "constant": lambda stars, random: np.full(len(stars), 0.4),
    "inverted": lambda stars, random: 1 - good(stars, random),
}


def with_judges(
    labels: Labels, judges: Mapping[str, Judge], *, known: float = 0.4, seed: int = 0
) -> Labels:
    """Take people's label from most snapshots, and let judges say something of all.

    Args:
        labels: Of people.
        judges: What each says of the true stars; each snapshot is judged by one of them.
        known: The share of snapshots that keep their label.
        seed: Of everything that is drawn.
    """
    random = np.random.default_rng(seed)
    frame = labels.frame.with_columns(label_source=pl.lit("all_judges"))
    kept = random.uniform(size=frame.height) < known
    turn = random.integers(len(judges), size=frame.height)
    stars = frame["label_value"].to_numpy()
    scores = [judge(stars, random) for judge in judges.values()]
    said = pl.DataFrame(
        {
            "snapshot_id": frame["snapshot_id"],
            "kind": "score",
            "judge": [list(judges)[one] for one in turn],
            "value": np.choose(turn, scores) if scores else np.zeros(0),
            "votes": 1,
            "spread": None,
        }
    ).cast(JUDGEMENTS_TABLE.schema)
    people = frame.filter(pl.Series(kept))
    common = said.filter(pl.Series(kept))
    number = dict(said.group_by("judge").len().iter_rows())
    with_people = dict(common.group_by("judge").len().iter_rows())
    return replace(
        labels,
        frame=people,
        query=LabelQuery(label_source="all_judges"),
        judged=Judgements(
            said=said,
            snapshots=frame.filter(pl.Series(~kept)).select(JUDGED_SNAPSHOTS_TABLE.names),
            counts={},
            judges={
                name: {"scores": number.get(name, 0), "with_people": with_people.get(name, 0)}
                for name in judges
            },
        ),
    )


def many_labels(judges: Mapping[str, Judge], *, webcams: int = 160, seed: int = 0) -> Labels:
    """Enough of them that a good judge speaks."""
    return with_judges(make_labels(webcams=webcams, per_webcam=8, seed=seed), judges, seed=seed)


def with_external(
    labels: Labels,
    judge: str,
    *,
    pictures: int = 60,
    gold: int = 20,
    folder: Path = Path("/photos"),
) -> Labels:
    """Add photographs: the curator labelled the first of them, and a judge scored all of them.

    Args:
        labels: With what judges said.
        judge: Of `JUDGES`, by its name.
        pictures: How many.
        gold: How many of them have a gold label; of these every fourth is no sunset.
        folder: Where the pictures are.
    """
    judged = labels.judged
    assert judged is not None
    random = np.random.default_rng(5)
    stars = random.integers(1, 6, pictures)
    ids = -np.arange(1, pictures + 1)
    shared = {"votes": 1, "spread": None}
    scored = pl.DataFrame(
        {
            "snapshot_id": ids,
            "kind": "score",
            "judge": judge,
            "value": JUDGES[judge](stars.astype(float), random),
            **shared,
        }
    )
    is_no = np.arange(gold) % 4 == 0
    labelled = pl.DataFrame(
        {
            "snapshot_id": ids[:gold],
            "kind": np.where(is_no, "gold_no_sunset", "gold"),
            "judge": None,
            "value": np.where(is_no, 1.0, stars[:gold]),
            **shared,
        }
    )
    schema = JUDGEMENTS_TABLE.schema
    said = [one.cast(schema) for one in (scored, labelled)]
    external = pl.DataFrame(
        {
            "snapshot_id": ids,
            # Three pictures of each owner, and some of nobody's.
            "webcam_id": np.where(ids % 10 == 0, ids, (ids + 1) // 3 * 3 - 1),
            "image_path_or_url": [str(folder / f"photo{-one}.jpg") for one in ids],
            "picture_source": np.where(ids % 2, "flickr", "unsplash"),
            "picture_owner": np.where(ids % 10 == 0, None, "somebody"),
            "picture_licence": np.where(ids % 3, "CC BY 2.0", None),
        },
        schema_overrides=EXTERNAL_IMAGES_TABLE.schema,
    )
    return replace(
        labels,
        query=LabelQuery(label_source="all_judges", external_images=True),
        judged=replace(
            judged,
            said=pl.concat([judged.said, *said]).sort("snapshot_id", "kind", "judge"),
            judges={judge: {"scores": 0, "with_people": 0}, **judged.judges},
            external=external.sort("snapshot_id"),
        ),
    )
