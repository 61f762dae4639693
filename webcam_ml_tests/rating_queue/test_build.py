"""A queue from a real label database, real pictures and a real model: what is in it, and what never is."""

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from webcam_ml.dataset import SplitConfig
from webcam_ml.dataset.duplicates import DuplicateWebcams
from webcam_ml.labels import LabelDatabaseError
from webcam_ml.rating_queue import RANDOM, UNCERTAIN, RatingQueue
from webcam_ml.training import predict
from webcam_ml_tests.rating_queue.queued import (
    FIRST,
    FIRST_UNRATED,
    NEW_WEBCAMS,
    Made,
    Queued,
    copy_picture,
    frame,
    make,
    picture,
    unrated,
)
from webcam_ml_tests.world import draw, made_once

ALL = 10_000


@pytest.fixture(scope="module")
def made() -> Made:
    return made_once("rating_queue", make)


@pytest.fixture
def queued(made: Made, tmp_path: Path) -> Queued:
    return Queued.of(made, tmp_path)


def saved(queue: RatingQueue, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    queue.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def of_webcam(queued: Queued, webcam_id: int) -> list[int]:
    """Unrated frames of a webcam."""
    return [row["id"] for row in unrated(queued.made) if row["webcam_id"] == webcam_id]


def a_webcam_of(queued: Queued, split: str) -> int:
    frame = queued.manifest.frame
    return frame.filter(pl.col("split") == split)["webcam_id"].min()


def shown(queued: Queued, **settings: object) -> set[int]:
    """Every frame that a queue, or one of those after it, would ever show."""
    found: set[int] = set()
    while True:
        queue = queued.queue(size=ALL, **settings).queue.frame
        if queue.is_empty():
            return found
        found |= set(queue["snapshot_id"])
        for id in queue["snapshot_id"]:
            queued.execute(f"INSERT INTO webcam_snapshot_ratings (snapshot_id, user_session_id, "
                           f"rating) VALUES ({id}, 'curator-1', 3)")  # fmt: skip


def test_a_queue_has_unrated_frames_of_every_split_and_says_why_each_is_in_it(
    queued: Queued, tmp_path: Path
) -> None:
    result = queued.queue(size=20, random_share=0.25)
    frame, meta = result.queue.frame, result.queue.meta
    assert frame.columns == [
        "snapshot_id", "webcam_id", "split", "picked_by", "reason", "image_path_or_url",
    ]  # fmt: skip
    assert set(frame["snapshot_id"]) <= {row["id"] for row in unrated(queued.made)}
    assert frame["webcam_id"].is_unique().all()
    assert [(one.split, one.picked_by, one.wanted, one.found) for one in meta.shares] == [
        ("train", RANDOM, 3, 3),
        ("train", UNCERTAIN, 9, 9),
        ("val", RANDOM, 4, 4),
        ("test", RANDOM, 4, 4),
    ]
    assert meta.shortfall is None
    assert frame["reason"].str.contains("rated").all()
    assert not frame["reason"].str.contains(r"0\.\d").any(), "a score would tell who rates"
    assert result.pictures.keys() == set(frame["snapshot_id"])
    files = saved(result.queue, tmp_path / "queue")
    assert files.keys() == {"rating_queue.csv", "rating_queue.json"}
    again = RatingQueue.load(tmp_path / "queue")
    assert again.frame.equals(frame)
    assert again.meta == meta


def test_training_cameras_are_asked_where_the_model_is_undecided_and_little_is_rated(
    queued: Queued,
) -> None:
    world, frames = queued.made.world, unrated(queued.made)
    result = queued.queue(size=20, random_share=0.0)
    splits = queued.manifest.meta.split_config
    known = dict(queued.manifest.frame.group_by("webcam_id").len().iter_rows())
    best: dict[int, float] = {}
    for row in frames:
        webcam = row["webcam_id"]
        if splits.split_of(webcam) != "train":
            continue
        picture = (queued.made.folder / "pictures" / f"{row['id']}.jpg").read_bytes()
        digest = world.images.store(picture)
        score = predict(
            queued.made.checkpoint,
            pl.DataFrame({"sha256": [digest]}),
            images=world.images,
            cache=world.cache,
        ).raw_score[0]
        worth = score * (1 - score) / (1 + known.get(webcam, 0))
        best[webcam] = max(best.get(webcam, 0.0), worth)
    wanted = sorted(best, key=lambda webcam: -best[webcam])
    asked = result.queue.frame.filter(pl.col("picked_by") == UNCERTAIN)["webcam_id"].to_list()
    assert asked == wanted[: len(asked)]
    assert len(asked) == 12


def test_the_same_queue_follows_from_the_same_database_without_a_forward_pass(
    queued: Queued, tmp_path: Path
) -> None:
    first, again = queued.queue(size=20), queued.queue(size=20)
    assert saved(first.queue, tmp_path / "a") == saved(again.queue, tmp_path / "b")
    assert again.features_computed == 0
    assert again.features_reused == first.queue.meta.scored > 0


def test_each_frame_says_where_its_picture_is(queued: Queued) -> None:
    frame = queued.queue(size=20).queue.frame
    folder = queued.made.folder / "pictures"
    expected = [str(folder / f"{id}.jpg") for id in frame["snapshot_id"]]
    assert frame["image_path_or_url"].to_list() == expected


def test_labels_that_hear_no_judges_have_no_conflicts(queued: Queued, tmp_path: Path) -> None:
    files = saved(queued.queue(size=5).queue, tmp_path / "a")
    assert sorted(files) == ["rating_queue.csv", "rating_queue.json"]


def test_what_is_cached_decides_nothing(queued: Queued, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(queued.made.world.cache / "backbones", cache / "backbones", symlinks=True)
    first, cold = queued.queue(size=20), queued.queue(size=20, cache=cache)
    assert saved(first.queue, tmp_path / "a") == saved(cold.queue, tmp_path / "b")
    assert cold.features_computed == cold.queue.meta.scored


def test_the_pool_bounds_the_forward_passes(queued: Queued) -> None:
    result = queued.queue(size=20, pool=7, random_share=0.0)
    assert result.queue.meta.scored == 7
    assert result.queue.meta.shares[1].found == 7
    assert "7 of 12 of train (uncertain)" in result.queue.meta.shortfall
    assert queued.queue(size=20, random_share=1.0).queue.meta.scored == 0


def test_webcams_that_were_never_seen_get_the_split_of_their_id(queued: Queued) -> None:
    frame = queued.queue(size=ALL).queue.frame
    split = queued.manifest.meta.split_config
    assert set(NEW_WEBCAMS) <= set(frame["webcam_id"])
    assert all(
        split.split_of(webcam) == name for webcam, name in frame["webcam_id", "split"].rows()
    )
    assert split != SplitConfig()


def test_webcams_that_are_one_camera_share_its_split_its_ratings_and_its_place(
    queued: Queued,
) -> None:
    test, train = a_webcam_of(queued, "test"), a_webcam_of(queued, "train")
    meta = replace(
        queued.manifest.meta,
        duplicate_webcams=DuplicateWebcams((tuple(sorted((test, train))),), "", 0, 0),
    )
    merged = replace(queued, manifest=replace(queued.manifest, meta=meta))
    frame = merged.queue(size=ALL).queue.frame
    both = frame.filter(pl.col("webcam_id").is_in([test, train]))
    assert both["split"].to_list() == ["test"]
    assert "8 frames of its camera are rated" in both["reason"][0]


def test_a_device_that_is_aimed_anew_stays_in_its_split(queued: Queued) -> None:
    """Its new webcam has no label yet, and an id of its own."""
    test = a_webcam_of(queued, "test")
    split = queued.manifest.meta.split_config.split_of
    new = next(webcam for webcam in NEW_WEBCAMS if split(webcam) == "train")
    queued.execute(
        "ALTER TABLE webcams ADD COLUMN custom_camera_id integer",
        f"UPDATE webcams SET custom_camera_id = 5 WHERE id IN ({test}, {new})",
        f"DELETE FROM webcam_snapshots WHERE webcam_id = {test} AND id >= {FIRST_UNRATED}",
    )

    def split_of_new(merged: DuplicateWebcams | None) -> str:
        meta = replace(queued.manifest.meta, duplicate_webcams=merged)
        asked = replace(queued, manifest=replace(queued.manifest, meta=meta))
        frame = asked.queue(size=ALL).queue.frame
        return frame.filter(pl.col("webcam_id") == new)["split"].item()

    assert split_of_new(None) == "train"
    assert split_of_new(DuplicateWebcams((), "", 0, 0)) == "test"


def test_what_somebody_voted_on_is_not_shown_whatever_the_vote_says(queued: Queued) -> None:
    stars, verdict, gold, other = (row["id"] for row in unrated(queued.made)[:4])
    before = shown(Queued.of(queued.made, queued.store.root))
    queued.execute(
        f"INSERT INTO webcam_snapshot_ratings (snapshot_id, user_session_id, rating) VALUES "
        f"({stars}, 'visitor', 4), ({verdict}, 'visitor', NULL)",
        "CREATE TABLE manual_labels (source text, image_id int, is_sunset boolean, rating int)",
        f"INSERT INTO manual_labels VALUES ('webcam', {gold}, false, NULL), "
        f"('flickr', {other}, true, 5)",
    )
    meta = queued.queue().queue.meta
    assert meta.rated_since_or_dropped == 3
    assert shown(queued) == before - {stars, verdict, gold}


def test_with_curator_sessions_only_their_votes_make_a_frame_rated(queued: Queued) -> None:
    by_visitor, by_curator = (row["id"] for row in unrated(queued.made)[:2])
    queued.execute(
        f"INSERT INTO webcam_snapshot_ratings (snapshot_id, user_session_id, rating) VALUES "
        f"({by_visitor}, 'visitor', 4), ({by_curator}, 'curator-1', 4)"
    )
    found = shown(queued.asking(curator_sessions=("curator-1",)))
    assert by_visitor in found
    assert by_curator not in found


def test_pictures_that_cannot_be_read_are_counted_and_replaced(made: Made, tmp_path: Path) -> None:
    webcam = NEW_WEBCAMS[0]
    dead = FIRST_UNRATED + 500
    (made.folder / "pictures" / f"{dead + 1}.jpg").write_bytes(draw(3, 9)[:700])
    queued = Queued.of(
        made, tmp_path, [*unrated(made), frame(made, dead, webcam), frame(made, dead + 1, webcam)]
    )
    found = shown(queued)
    assert not {dead, dead + 1} & found
    assert {row["id"] for row in unrated(made)} == found
    only = Queued.of(made, tmp_path / "only", [frame(made, dead, webcam)])
    meta = only.queue().queue.meta
    assert (meta.unrated, meta.not_shown["unreadable"]) == (1, 1)
    assert meta.unreadable == {"not_found": 1}


def test_a_camera_whose_pictures_are_dead_gives_its_place_to_another(
    made: Made, tmp_path: Path
) -> None:
    test = a_webcam_of(Queued.of(made, tmp_path / "a"), "test")
    dead = [frame(made, FIRST_UNRATED + 600 + i, test) for i in range(50)]
    frames = [*(row for row in unrated(made) if row["webcam_id"] != test), *dead]
    result = Queued.of(made, tmp_path / "b", frames).queue(size=20)
    assert result.queue.meta.shares[3].found == 4
    assert result.queue.meta.not_shown["unreadable"] <= 3


def test_a_file_that_was_rated_is_not_shown_under_another_snapshot(
    made: Made, tmp_path: Path
) -> None:
    rated = made.world.labels.frame["snapshot_id"][0]
    copies = [frame(made, FIRST_UNRATED + 700 + i, webcam) for i, webcam in enumerate((1000, 2000))]
    for copy in copies:
        copy_picture(made, rated, copy["id"])
    queued = Queued.of(made, tmp_path, [*unrated(made), *copies])
    assert not {copy["id"] for copy in copies} & shown(queued)
    # The file of a frame that was rated since counts too.
    new = FIRST_UNRATED + 710
    copy_picture(made, FIRST_UNRATED, new)
    queued = Queued.of(made, tmp_path / "since", [*unrated(made), frame(made, new, 1000)])
    queued.execute(
        f"INSERT INTO webcam_snapshot_ratings (snapshot_id, user_session_id, rating) VALUES "
        f"({FIRST_UNRATED}, 'curator-1', 4)"
    )
    assert new not in shown(queued)


def test_a_picture_that_was_rated_under_another_webcam_is_not_shown(
    made: Made, tmp_path: Path
) -> None:
    """A mirror shows the picture of another webcam, compressed anew."""
    rated = made.world.labels.frame.row(0, named=True)
    mirror, twin = FIRST_UNRATED + 720, FIRST_UNRATED + 721
    original = Image.open(rated["image_path_or_url"])
    for id, quality in ((mirror, 85), (twin, 80)):
        original.save(made.folder / "pictures" / f"{id}.jpg", quality=quality)
    at = pl.Series([rated["captured_at"]]).str.to_datetime("%Y-%m-%dT%H:%M:%SZ")[0]
    rows = [
        frame(made, mirror, NEW_WEBCAMS[0], captured_at=at + timedelta(minutes=2)),
        frame(made, twin, NEW_WEBCAMS[1], captured_at=at + timedelta(days=1)),
    ]
    queued = Queued.of(made, tmp_path, rows)
    queued.execute(
        f"UPDATE webcam_snapshots SET captured_at = '{at}' WHERE id = {rated['snapshot_id']}"
    )
    result = queued.queue()
    assert result.queue.frame["snapshot_id"].to_list() == [twin], (
        "a day apart it is another evening"
    )
    assert result.queue.meta.not_shown["same_as_rated"] == 1


def test_of_two_webcams_that_show_the_same_picture_one_is_asked(made: Made, tmp_path: Path) -> None:
    one, other = FIRST_UNRATED + 730, FIRST_UNRATED + 731
    picture(made, one)
    copy_picture(made, one, other)
    rows = [
        frame(made, id, webcam, captured_at=FIRST) for id, webcam in ((one, 2000), (other, 2001))
    ]
    result = Queued.of(made, tmp_path, rows).queue()
    assert result.queue.frame.height == 1
    assert result.queue.meta.not_shown["same_as_another"] == 1


@pytest.mark.parametrize("known", [True, False])
def test_a_card_that_says_camera_offline_is_not_shown(
    made: Made, tmp_path: Path, known: bool
) -> None:
    cards = [FIRST_UNRATED + 740 + i for i in range(2)]
    path = made.folder / "pictures" / f"{cards[0]}.jpg"
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(path)
    copy_picture(made, *cards)
    rows = [frame(made, id, webcam) for id, webcam in zip(cards, (2000, 2001), strict=True)]
    queued = Queued.of(made, tmp_path, [*unrated(made), *(rows[:1] if known else rows)])
    if known:
        near = made.compared.near_duplicates
        digest = made.world.images.store(path.read_bytes())
        card = pl.DataFrame([[digest, 9, 9, 1]], schema=near.placeholders.schema, orient="row")
        compared = replace(made.compared, near_duplicates=replace(near, placeholders=card))
        queued = replace(queued, compared=compared)
    assert shown(queued) == {row["id"] for row in unrated(made)}


def test_nothing_to_rate_is_a_result(made: Made, tmp_path: Path) -> None:
    result = Queued.of(made, tmp_path, []).queue()
    assert result.queue.frame.is_empty()
    assert result.queue.meta.shortfall == ("There is nothing to rate: all 160 snapshots are rated.")


def test_where_no_picture_can_be_read_the_queue_says_why(
    made: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [frame(made, FIRST_UNRATED + 800 + i, 2000 + i) for i in range(10)]
    rows.append(frame(made, FIRST_UNRATED + 820, 2000, firebase_url=" "))
    rows.append(frame(made, FIRST_UNRATED + 821, 2000) | {"webcam_id": None})
    queue = Queued.of(made, tmp_path, rows).queue().queue
    assert queue.frame.is_empty()
    assert queue.meta.shortfall == (
        "None of the 12 unrated snapshots can be shown. Not shown: 1 no_webcam, 1 no_image, 10 "
        "unreadable. Unreadable: 10 not_found; the log names examples and settings."
    )
    assert queue.meta.shortfall in caplog.text
    assert "no such file" in caplog.text


def test_ids_of_another_database_are_refused(queued: Queued, tmp_path: Path) -> None:
    other = Queued.of(queued.made, tmp_path / "other")
    with pytest.raises(LabelDatabaseError, match="the labels were read from another one"):
        queued.queue(url=other.url)
