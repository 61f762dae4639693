"""The artifact: what is saved comes back, and odd labels are found."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webcam_ml.contracts import LABELS_TABLE, WEBCAM_COLUMNS, TableError
from webcam_ml.labels import LabelCounts, LabelQuery, Labels

COUNTS = LabelCounts(
    snapshots=100, rated_snapshots=3, cached_only_snapshots=0, rating_counts={1: 2, 2: 1}
)
TEXTS = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


def labels_of(rows: Sequence[Mapping[str, object]], query: LabelQuery | None = None) -> Labels:
    plain: dict[str, object] = {
        "snapshot_id": 1,
        "webcam_id": 7,
        "label_source": "manual_only",
        "label_value": 4.0,
        "rating_count": 1,
        "image_path_or_url": "a.jpg",
        "phase": "sunset",
        "captured_at": "2026-02-12T10:15:00Z",
        "cached_rating": 4.0,
        "fresh_rating": 4.0,
        "stars_1": 0,
        "stars_2": 0,
        "stars_3": 0,
        "stars_4": 1,
        "stars_5": 0,
        **dict.fromkeys(column.name for column in WEBCAM_COLUMNS),
        "webcam_title": "Quay",
        "webcam_source": "windy",
    }
    frame = pl.DataFrame([plain | dict(row) for row in rows], schema=LABELS_TABLE.schema)
    drops = {"unrated": 97, "no_webcam": 0, "no_image": 0, "no_label": 0, "too_few_ratings": 0}
    return Labels(frame=frame, query=query or LabelQuery(), drops=drops, counts=COUNTS)


def save_and_load(labels: Labels, folder: Path) -> Labels:
    folder.mkdir(exist_ok=True)
    labels.save(folder)
    return Labels.load(folder)


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "label_value": st.floats(1, 5),
                "cached_rating": st.none() | st.floats(allow_nan=False),
                "fresh_rating": st.floats(1, 5),
                "phase": TEXTS,
                "webcam_title": TEXTS,
                "image_path_or_url": TEXTS,
            }
        )
    )
)
def test_what_is_saved_comes_back_bit_for_bit(
    rows: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    labels = labels_of(rows)
    loaded = save_and_load(labels, tmp_path_factory.mktemp("labels"))
    assert loaded.frame.equals(labels.frame)
    assert loaded.frame.schema == labels.frame.schema


def test_titles_over_several_lines_survive_in_a_file_that_is_parsed_in_parallel(
    tmp_path: Path,
) -> None:
    title = 'Pier,\n"west"\r\n\n1,2,"3\n'
    labels = labels_of([{"snapshot_id": i, "webcam_title": title * (i % 7)} for i in range(40_000)])
    labels = Labels(
        frame=labels.frame.with_columns(pl.col("webcam_title").replace("", None)),
        query=labels.query,
        drops=labels.drops,
        counts=labels.counts,
    )
    assert save_and_load(labels, tmp_path).frame.equals(labels.frame)


def test_query_drops_and_counts_come_back(tmp_path: Path) -> None:
    labels = labels_of([{}], LabelQuery(min_rating_count=2, curator_sessions=("zoë", "anna")))
    loaded = save_and_load(labels, tmp_path)
    assert (loaded.query, loaded.drops, loaded.counts) == (
        labels.query,
        labels.drops,
        labels.counts,
    )
    assert list(loaded.drops) == list(labels.drops)


def test_the_files_are_plain_and_say_nothing_of_the_database(tmp_path: Path) -> None:
    labels_of([{"captured_at": None}]).save(tmp_path)
    assert (tmp_path / "labels.csv").read_text() == (
        ",".join(LABELS_TABLE.names)
        + "\n1,7,manual_only,4.0,1,a.jpg,sunset,,4.0,4.0,0,0,0,1,0,Quay,windy"
        + "," * (len(WEBCAM_COLUMNS) - 2)
        + "\n"
    )
    assert list(json.loads((tmp_path / "labels_meta.json").read_text())) == [
        *LabelQuery().to_dict(),
        "counts",
        "drops",
        "rating_counts",
    ]


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    labels_of([{}]).save(tmp_path)
    path = tmp_path / "labels.csv"
    path.write_text(path.read_text().replace("webcam_id", "camera"))
    with pytest.raises(
        TableError, match=r"labels\.csv lacks webcam_id.*Materialize labels_raw again"
    ):
        Labels.load(tmp_path)


def test_off_scale_finds_labels_and_ratings_outside_one_to_five() -> None:
    values = [1.0, 5.0, 0.99, 5.01, 0.75, float("nan"), float("inf")]
    rows: list[dict[str, object]] = [
        {"snapshot_id": i, "label_value": value} for i, value in enumerate(values)
    ]
    # The average is on the scale, but one of the three ratings behind it was not.
    rows.append({"snapshot_id": 99, "label_value": 4.0, "rating_count": 3, "stars_4": 2})
    assert labels_of(rows).off_scale()["snapshot_id"].to_list() == [2, 3, 4, 5, 6, 99]


def test_rounding_and_a_missing_cached_average_are_not_stale() -> None:
    third = 10 / 3
    rows: list[dict[str, object]] = [
        {"snapshot_id": 1, "cached_rating": 3.33, "fresh_rating": third},
        {"snapshot_id": 2, "cached_rating": 3.66, "fresh_rating": 11 / 3},
        {"snapshot_id": 3, "cached_rating": None, "fresh_rating": third},
        {"snapshot_id": 4, "cached_rating": 3.35, "fresh_rating": third},
        {"snapshot_id": 5, "cached_rating": 1.0, "fresh_rating": 4.0},
    ]
    labels = labels_of(rows)
    assert labels.stale_cached()["snapshot_id"].to_list() == [4, 5]
    assert labels.stale_cached(tolerance=1.0)["snapshot_id"].to_list() == [5]
