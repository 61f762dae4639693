"""The pictures of the page: of labels that changed, and of test pictures that are judged otherwise."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from webcam_ml.changes._judged import FARTHER, NEARER, RIGHT_NOW, WRONG_NOW
from webcam_ml.changes._labels import CONFIRMED, GONE, MOVED, NEW, SAME, of_people
from webcam_ml.contracts import PEOPLE
from webcam_ml.pages import shortened, shown_date

# Of each kind of label and of judgement: so many have a picture, so many more a line.
PICTURED = {MOVED: 100, NEW: 100, CONFIRMED: 60, GONE: 40}
PICTURED_JUDGEMENTS = 24
LISTED = 1_000
# Of what is in each line, so that names that swell when they are escaped do not make the page too large.
LONGEST_NAME = 40
LABEL_WORDS = {
    MOVED: ("Moved", "other stars than A was trained on"),
    NEW: ("New", "no label when A was trained"),
    CONFIRMED: ("Confirmed", "more or other votes, and the same stars"),
    GONE: ("Gone", "A had a label there, B has none"),
}
JUDGEMENT_WORDS = {
    RIGHT_NOW: ("Right now", "A was on the wrong side of its threshold, B is on the right one"),
    WRONG_NOW: ("Wrong now", "A was on the right side of its threshold, B is on the wrong one"),
    NEARER: ("Nearer to the label", "no other decision, and the score moved towards the label"),
    FARTHER: ("Farther from the label", "no other decision, and the score moved away from it"),
}
SPLITS = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Card:
    """One picture, its texts not yet escaped."""

    anchor: str
    snapshot_id: int
    picture: str | None
    title: str
    facts: str
    told: str
    marks: Mapping[str, float]


@dataclass(frozen=True)
class Group:
    """Pictures of one kind, and those that are only named."""

    name: str
    meaning: str
    count: int
    of_test: int
    cards: Sequence[Card]
    listed: Sequence[tuple[int, str]]


def with_pictures(labels: pl.DataFrame | None, judged: pl.DataFrame | None) -> list[int]:
    """List the snapshots that are shown with a picture, as often as they are."""
    ids: list[int] = []
    if labels is not None:
        people = of_people(labels)
        for kind, limit in PICTURED.items():
            ids += people.filter(pl.col("change") == kind)["snapshot_id"].head(limit).to_list()
    if judged is not None:
        for kind in JUDGEMENT_WORDS:
            rows = judged.filter(pl.col("change") == kind)["snapshot_id"]
            ids += rows.head(PICTURED_JUDGEMENTS).to_list()
    return ids


def label_groups(labels: pl.DataFrame, pictures: Mapping[int, str]) -> Iterator[Group]:
    """Group people's labels by what became of them.

    Args:
        labels: As `label_changes` gives them.
        pictures: Address of the picture of each, where there is one.
    """
    people = of_people(labels)
    for kind, limit in PICTURED.items():
        rows = people.filter(pl.col("change") == kind)
        yield _group(
            LABEL_WORDS[kind],
            rows,
            limit,
            [
                _card(
                    "label",
                    row,
                    pictures,
                    told=_from_to(row),
                    marks={
                        side: row[side] for side in ("before", "after") if row[side] is not None
                    },
                )
                for row in rows.head(limit).iter_rows(named=True)
            ],
        )


def judgement_groups(
    judged: pl.DataFrame, pictures: Mapping[int, str], *, decided: bool
) -> Iterator[Group]:
    """Group test pictures by how they are judged otherwise.

    Args:
        judged: As `judged_otherwise` gives it, with `webcam_title`.
        pictures: Address of the picture of each, where there is one.
        decided: Whether the models have thresholds to be on a side of.
    """
    for kind, words in JUDGEMENT_WORDS.items():
        rows = judged.filter(pl.col("change") == kind)
        if kind in (RIGHT_NOW, WRONG_NOW) and not decided:
            continue
        yield _group(
            words,
            rows,
            PICTURED_JUDGEMENTS,
            [
                _card(
                    "test",
                    row,
                    pictures,
                    told=_scores(row),
                    marks={"people": row["label_value"], "before": row["a"], "after": row["b"]},
                )
                for row in rows.head(PICTURED_JUDGEMENTS).iter_rows(named=True)
            ],
        )


def _scores(row: Mapping[str, Any]) -> str:
    """Say what people, A and B say of a test picture, on the star scale."""
    return f"people {row['label_value']:.3g}, A {row['a']:.2f} → B {row['b']:.2f}"


def _group(words: tuple[str, str], rows: pl.DataFrame, limit: int, cards: list[Card]) -> Group:
    told = _from_to if "before" in rows.columns else _scores
    return Group(
        name=words[0],
        meaning=words[1],
        count=rows.height,
        of_test=rows.filter(pl.col("split") == "test").height,
        cards=cards,
        listed=[
            (row["snapshot_id"], told(row))
            for row in rows.slice(limit, LISTED).iter_rows(named=True)
        ],
    )


def _card(
    prefix: str,
    row: Mapping[str, Any],
    pictures: Mapping[int, str],
    *,
    told: str,
    marks: Mapping[str, float],
) -> Card:
    phase = shortened(row["phase"] or "unknown phase", LONGEST_NAME)
    date = shortened(shown_date(row["captured_at"]), LONGEST_NAME)
    return Card(
        anchor=f"{prefix}-{row['snapshot_id']}",
        snapshot_id=row["snapshot_id"],
        picture=pictures.get(row["snapshot_id"]),
        title=shortened(row["webcam_title"] or f"Webcam {row['webcam_id']}"),
        facts=f"{date} · {phase} · {SPLITS[row['split']]}",
        told=told,
        marks=marks,
    )


def _from_to(row: Mapping[str, Any]) -> str:
    sides = [
        "no label"
        if row[side] is None
        else f"{row[side]:.3g} ★ of {_who(row[f'origin_{side}'], row[f'raters_{side}'])}"
        for side in ("before", "after")
    ]
    return " → ".join(sides)


def _who(origin: str, raters: int) -> str:
    if origin != PEOPLE:
        return shortened(origin, LONGEST_NAME)
    return f"{raters} rating{'' if raters == 1 else 's'}"


def flow_of(people: pl.DataFrame) -> list[list[int]]:
    """Count changed labels: from no label and 1 to 5 stars (rows) to 1 to 5 stars and no label."""
    star = {
        side: (pl.col(side) + 0.5).floor().clip(1, 5).cast(pl.Int64).fill_null(0)
        for side in ("before", "after")
    }
    changed = people.filter(pl.col("change").is_in([NEW, GONE, MOVED])).select(**star)
    counts = dict.fromkeys(((a, b) for a in range(6) for b in range(6)), 0)
    for a, b, number in changed.group_by("before", "after").len().iter_rows():
        counts[a, b] = number
    return [[counts[a, b] for b in (1, 2, 3, 4, 5, 0)] for a in range(6)]


def count_judges(labels: pl.DataFrame) -> list[tuple[str, str, int]]:
    """Count labels that only judges gave, by judge and change."""
    origin = pl.coalesce("origin_after", "origin_before")
    rows = labels.filter(
        (pl.col("origin_before") != PEOPLE).fill_null(True)
        & (pl.col("origin_after") != PEOPLE).fill_null(True),
        pl.col("change") != SAME,
    )
    counted = rows.group_by(origin.alias("judge"), "change").len().sort("judge", "change")
    return [(shortened(judge), change, count) for judge, change, count in counted.iter_rows()]
