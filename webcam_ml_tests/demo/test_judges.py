"""Demos with judges: as real judges are, the same everywhere, and apart from demos without them."""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sqlalchemy as sa
from sklearn.metrics import roc_auc_score

from webcam_ml.dataset import SplitConfig
from webcam_ml.demo import DemoOptions, make_demo_data
from webcam_ml.demo._cameras import device_of, draw_cameras
from webcam_ml.demo._elsewhere import draw_photographs
from webcam_ml.demo._judges import FORMER, TODAYS, judge_photograph, judge_snapshot
from webcam_ml.demo._plan import plan_snapshots
from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import LabelDatabase, LabelQuery, read_labels
from webcam_ml_tests.demo.test_make import SMALL, pictures, rows_of, sqlite

JUDGED = SMALL | {"judges": True, "webcams": 16}
GROWN = ("manual_labels", "external_images")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judged")
    make_demo_data(folder, **JUDGED)
    return folder


def test_a_demo_with_judges_grows_and_is_the_same_on_postgresql(tmp_path, postgres_url, made):
    few = JUDGED | {"snapshots": 30}
    make_demo_data(tmp_path, database_url=postgres_url, **few)
    make_demo_data(tmp_path, database_url=postgres_url, **JUDGED)
    assert pictures(tmp_path) == pictures(made)
    assert rows_of(postgres_url, tmp_path, GROWN) == rows_of(sqlite(made), made, GROWN)


def test_people_and_judges_are_read_as_drawn(made):
    labels = read_labels(LabelDatabase(sqlite(made)), LabelQuery(label_source="all_judges"))
    assert labels.judged is not None
    counts, judges = labels.judged.counts, labels.judged.judges
    assert set(judges) == {TODAYS.model, FORMER.model}
    assert counts["no_sunset"] > 5
    assert counts["gold_same_as_rating"] > 0
    assert counts["gold_of_gone_snapshots"] == 0
    # What only a judge knows is most of it.
    assert labels.judged.snapshots.height > 2 * labels.frame.height
    paths = [Path(path) for path in labels.judged.snapshots["image_path_or_url"]]
    assert all(path.exists() for path in paths)


def test_pictures_from_elsewhere_are_there_with_owner_and_licence(made):
    with sa.create_engine(sqlite(made)).connect() as connection:
        rows = connection.execute(sa.text("SELECT * FROM external_images")).mappings().all()
        gold = connection.scalars(
            sa.text("SELECT image_id FROM manual_labels WHERE source = 'flickr'")
        ).all()
    assert len(rows) >= 5
    for row in rows:
        assert Path(row["image_url"]).exists()
        assert row["owner"]
        assert row["license"]
        assert row["category"] in ("sunset", "negative")
    assert set(gold) <= {row["id"] for row in rows if row["source"] == "flickr"}
    assert gold


@pytest.fixture(scope="module")
def judged() -> pl.DataFrame:
    """What people and the language model said of the rated snapshots of some seeds, as if of one."""
    rows = []
    for seed in range(100, 108):
        options = DemoOptions(seed=seed, raters_per_snapshot=1.02, unrated_fraction=0, judges=True)
        for snapshot in plan_snapshots(options):
            said = judge_snapshot(seed, snapshot)
            stars = [vote.stars for vote in snapshot.votes if vote.stars is not None]
            if said is not None and said.judge is TODAYS:
                camera = seed * 1000 + snapshot.scene.index
                rows.append((camera, sum(stars) / len(stars), said.score))
    return pl.DataFrame(rows, schema=["camera", "stars", "score"], orient="row")


# Of the 3,224 real snapshots, scores between taken to the nearest.
REAL_STARS = {0: 1.22, 0.25: 2.18, 0.35: 2.32, 0.45: 2.98, 0.55: 3.84, 0.65: 3.44, 0.75: 3.28}


def test_the_drawn_judge_is_as_coarse_blind_and_partial_as_the_real_one(judged):
    by_score = judged.group_by("score").agg(
        share=pl.len() / judged.height, mean=pl.col("stars").mean(), variance=pl.col("stars").var()
    )
    found = {row["score"]: row for row in by_score.iter_rows(named=True)}
    assert set(found) == set(REAL_STARS)
    for score, stars in REAL_STARS.items():
        assert found[score]["mean"] == pytest.approx(stars, abs=0.6)
    assert found[0]["share"] == pytest.approx(0.58, abs=0.03)
    assert found[0]["variance"] == pytest.approx(0.44, abs=0.15)
    assert found[0.45]["variance"] == pytest.approx(2.0, abs=0.5)
    positive = judged["stars"].to_numpy() >= 4
    assert roc_auc_score(positive, judged["score"]) == pytest.approx(0.86, abs=0.03)
    # Analysis of variance of what the score does not explain, by webcam; really .24 are its own.
    residual = (pl.col("stars") - pl.col("stars").mean().over("score")).alias("residual")
    groups = (
        judged.with_columns(residual)
        .group_by("camera")
        .agg(
            pl.col("residual").mean().alias("mean"),
            ((pl.col("residual") - pl.col("residual").mean()) ** 2).sum().alias("within"),
            number=pl.len(),
        )
    )
    number, rows, cameras = groups["number"].to_numpy(), judged.height, groups.height
    within = groups["within"].sum() / (rows - cameras)
    between = (number * groups["mean"].to_numpy() ** 2).sum() / (cameras - 1)
    usual = (rows - (number**2).sum() / rows) / (cameras - 1)
    own = max(0.0, (between - within) / usual)
    assert 0.1 < own / (own + within) < 0.35


def test_photographs_please_the_language_model_more_than_webcams_do():
    options = DemoOptions(judges=True)
    photographs = draw_photographs(options, 3000)
    scores = [
        judge_photograph(options.seed, one.view).score
        for one in photographs
        if one.category == "sunset"
    ]
    assert np.mean(np.array(scores) >= 0.75) > 0.7
    assert len({one.source_id for one in photographs}) == len(photographs)
    # Some owners have several, so that grouping by owner is not grouping by picture.
    assert max(Counter(one.owner for one in photographs).values()) > 3


def test_people_say_n_where_there_is_nothing_to_see():
    plan = plan_snapshots(DemoOptions(judges=True, unrated_fraction=3.0, snapshots=300))
    said = [snapshot for snapshot in plan if any(vote.stars is None for vote in snapshot.votes)]
    assert len(said) > 30
    assert all(snapshot.no_event for snapshot in said)


def test_one_device_has_two_webcam_ids_in_different_splits():
    devices = defaultdict(list)
    for camera in draw_cameras(DemoOptions(judges=True)):
        devices[device_of(camera)].append(camera)
    assert None in devices
    twice = [two for device, two in devices.items() if device is not None and len(two) > 1]
    ((one, other),) = twice
    assert (one.latitude, one.longitude) == (other.latitude, other.longitude)
    assert one.view_azimuth != other.view_azimuth
    splits = SplitConfig()
    assert splits.split_of(one.webcam_id) != splits.split_of(other.webcam_id)


def test_a_demo_without_judges_has_the_tables_of_the_time_before(tmp_path, made):
    make_demo_data(tmp_path, **SMALL)
    inspector = sa.inspect(sa.create_engine(sqlite(tmp_path)))
    assert not set(GROWN) & set(inspector.get_table_names())
    for table in ("webcams", "webcam_snapshots", "webcam_snapshot_ratings", "webcam_ml_demo"):
        columns = {column["name"] for column in inspector.get_columns(table)}
        assert not columns & {"judges", "custom_camera_id", "llm_quality", "is_sunset_verdict"}
    with pytest.raises(WebcamMLError, match=r"judges .*asked for.*folder"):
        make_demo_data(tmp_path, **SMALL, unrated_fraction=0.15, judges=True)
    with pytest.raises(WebcamMLError, match=r"judges .*asked for.*folder"):
        make_demo_data(made, **JUDGED | {"judges": False, "unrated_fraction": 5.3})
