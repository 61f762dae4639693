"""Where people and judges differ most, against a plain loop over what each said."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from webcam_ml.contracts import RATING_QUEUE_TABLE
from webcam_ml.dataset import Manifest, build_manifest
from webcam_ml.dataset.images import ImageIndex
from webcam_ml.labels import Judgements, Labels
from webcam_ml.rating_queue import QueueMeta, RatingQueue
from webcam_ml.rating_queue._conflicts import judge_conflicts
from webcam_ml_tests.dataset.judges.said import JUDGES, many_labels

NOBODY = pl.Series("snapshot_id", [], dtype=pl.Int64)


def two_judges() -> Labels:
    """`good` and `second` score every snapshot, `noise` does so with no idea."""
    labels = many_labels({"good": JUDGES["good"]})
    judged = labels.judged
    assert judged is not None
    again = many_labels({"second": JUDGES["good"]}, seed=0).judged
    noise = many_labels({"noise": JUDGES["noise"]}, seed=0).judged
    assert again is not None
    assert noise is not None
    # What is drawn for equal seeds is equal; in another order it is another opinion.
    shifted = again.said.with_columns(value=pl.col("value").shift(1, fill_value=0.0))
    other = again.said.with_columns(
        value=pl.when(pl.col("snapshot_id") % 5 == 0).then(shifted["value"]).otherwise("value")
    )
    return replace(
        labels,
        judged=replace(
            judged,
            said=pl.concat([judged.said, other, noise.said]).sort("snapshot_id", "kind", "judge"),
            judges={**judged.judges, **again.judges, **noise.judges},
        ),
    )


@pytest.fixture(scope="module")
def labels() -> Labels:
    return two_judges()


@pytest.fixture(scope="module")
def manifest(labels: Labels) -> Manifest:
    manifest = build_manifest(labels)
    assert manifest.meta.heard is not None
    assert manifest.meta.heard.speaking == ("good", "second")
    return manifest


def index_of(manifest: Manifest) -> ImageIndex:
    frame = manifest.frame.select(
        "snapshot_id",
        source="image_path_or_url",
        status=pl.lit("ok"),
        error=pl.lit(None, pl.String),
        sha256=pl.lit("0" * 64),
    )
    return ImageIndex(frame, max_failed_fraction=0.0)


def conflicts(labels: Labels, manifest: Manifest, rated: pl.Series = NOBODY) -> pl.DataFrame:
    judged = labels.judged
    assert judged is not None
    return judge_conflicts(judged, manifest, rated=rated, index=index_of(manifest))


def expected(judged: Judgements, manifest: Manifest) -> dict[int, float]:
    assert manifest.meta.heard is not None
    stars_of: dict[int, list[float]] = {}
    for row in manifest.frame.filter(label_origin="people").iter_rows(named=True):
        stars_of[row["snapshot_id"]] = [row["label_value"]]
    for judge in manifest.meta.heard.judges:
        of = judge.calibration
        if of.speaks and of.stars is not None:
            for row in judged.said.filter(judge=of.name).iter_rows(named=True):
                said = stars_of.setdefault(row["snapshot_id"], [])
                said.append(float(of.stars(pl.Series([row["value"]]).to_numpy())[0]))
    webcam_of = dict(judged.snapshots.select("snapshot_id", "webcam_id").iter_rows())
    webcam_of |= dict(manifest.frame.select("snapshot_id", "webcam_id").iter_rows())
    split_of = manifest.meta.split_config.split_of
    far = {id: round(max(said) - min(said), 2) for id, said in stars_of.items()}
    return {
        id: apart for id, apart in far.items() if apart >= 1 and split_of(webcam_of[id]) == "train"
    }


def test_the_largest_differences_of_training_webcams_come_first(
    labels: Labels, manifest: Manifest
) -> None:
    found = conflicts(labels, manifest)
    assert labels.judged is not None
    wanted = expected(labels.judged, manifest)
    assert len(wanted) > 50
    assert dict(found.select("snapshot_id", "difference").iter_rows()) == wanted
    assert found["difference"].is_sorted(descending=True)
    assert found["split"].unique().to_list() == ["train"]
    pairs = {frozenset(pair) for pair in found.select("lowest", "highest").iter_rows()}
    assert pairs == {
        frozenset(pair) for pair in (("people", "good"), ("people", "second"), ("good", "second"))
    }
    row = found.filter(lowest="people").row(0, named=True)
    assert row["reason"].startswith(f"people say {row['lowest_stars']}")
    assert f"{row['highest']} says {row['highest_stars']} (score " in row["reason"]


def test_what_people_rated_since_and_what_shows_nothing_is_not_listed(
    labels: Labels, manifest: Manifest
) -> None:
    all_of_them = conflicts(labels, manifest)
    between_judges = all_of_them.filter(
        pl.col("lowest") != "people", pl.col("highest") != "people"
    ).join(manifest.frame.filter(label_origin="people"), on="snapshot_id", how="anti")
    assert not between_judges.is_empty()
    since = between_judges["snapshot_id"].head(2)
    left = conflicts(labels, manifest, since)
    assert {*all_of_them["snapshot_id"]} - {*left["snapshot_id"]} == {*since}
    judged = labels.judged
    assert judged is not None
    hidden = all_of_them["snapshot_id"].head(3)
    index = index_of(manifest).without(hidden, reason="placeholder")
    shown = judge_conflicts(judged, manifest, rated=NOBODY, index=index)
    in_manifest = hidden.filter(hidden.is_in(manifest.frame["snapshot_id"].implode()))
    assert {*all_of_them["snapshot_id"]} - {*shown["snapshot_id"]} == {*in_manifest} != set()


def test_they_are_read_as_they_were_stored(
    labels: Labels, manifest: Manifest, tmp_path: Path
) -> None:
    found = conflicts(labels, manifest)
    meta = QueueMeta(5, 5, 0.1, 0, 0, 0, 0, (), {}, {}, conflicts=found.height)
    queue = RatingQueue(pl.DataFrame(schema=RATING_QUEUE_TABLE.schema), meta, conflicts=found)
    queue.save(tmp_path)
    again = RatingQueue.load(tmp_path)
    assert again.conflicts is not None
    assert again.conflicts.equals(found)
    assert again.meta == meta
