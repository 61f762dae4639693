"""A shift of cameras or of the season is found within 500 frames; where nothing moves, nothing is said."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy import stats

from webcam_ml.dataset.images import ImageCache
from webcam_ml.monitoring import STATISTICS, drift, picture_statistics, welch
from webcam_ml_tests.live.fixtures import Live
from webcam_ml_tests.live.models import Made
from webcam_ml_tests.monitoring.application import Application, decoded


def frames(
    random: np.random.Generator, webcams: int, rows: int, shift: float = 0.0
) -> pl.DataFrame:
    """Frames of webcams, each with a level of its own, some with many more than others."""
    webcam = np.minimum(random.geometric(4 / webcams, rows) - 1, webcams - 1)
    level = random.normal(shift, 1, webcams)
    return pl.DataFrame(
        {
            "webcam_id": webcam,
            "phase": random.choice(["sunrise", "sunset"], rows),
            "captured_at": "2026-02-12T06:00:00Z",
            **{name: level[webcam] + random.normal(0, 1, rows) for name in STATISTICS},
        }
    )


def test_other_cameras_are_found_within_500_frames_and_the_same_are_not() -> None:
    random = np.random.default_rng(0)
    found = {0.0: 0, 1.5: 0}
    for shift in found:
        for _ in range(50):
            moved = drift(frames(random, 85, 747), frames(random, 125, 500, shift))
            found[shift] += any(one.alarms for one in moved)
    assert found == {0.0: 0, 1.5: 50}


def test_it_is_the_test_of_welch_over_webcams() -> None:
    random = np.random.default_rng(1)
    then, now = frames(random, 30, 200), frames(random, 40, 200, 0.5)
    means = [
        frame.group_by("webcam_id").agg(pl.col("brightness").mean())["brightness"].to_numpy()
        for frame in (then, now)
    ]
    expected = stats.ttest_ind(means[1], means[0], equal_var=False)
    (found,) = (
        one for one in drift(then, now) if (one.statistic, one.group) == ("brightness", "all")
    )
    low, high = expected.confidence_interval(0.95)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.frames == 200


def test_a_hundred_frames_of_one_camera_are_one_observation() -> None:
    random = np.random.default_rng(2)
    then = frames(random, 85, 747)
    one = frames(random, 30, 500).with_columns(pl.lit(7).alias("webcam_id").cast(pl.Int64))
    assert drift(then, one) == []


def test_no_spread_is_no_division_by_zero() -> None:
    same = np.ones(30)
    assert welch(same, same)[3] == 1
    assert welch(same, same + 1)[3] == 0


def test_what_is_said_of_a_picture() -> None:
    half = np.zeros((40, 60, 3), np.uint8)
    half[:20] = 255
    assert picture_statistics(half) == pytest.approx(
        {"brightness": 0.5, "contrast": 0.5, "warmth": 0}
    )
    red = np.zeros((300, 600, 3), np.uint8)
    red[..., 0] = 255
    assert picture_statistics(red)["warmth"] == pytest.approx(1)


@pytest.fixture
def application(made: dict[str, Made], prepared: Live, tmp_path: Path) -> Application:
    return Application.of(made["first"], f"sqlite:///{tmp_path}/app.db", prepared.store)


def test_the_same_world_has_not_drifted_and_winter_is_named(
    application: Application, made: dict[str, Made], tmp_path: Path
) -> None:
    first = made["first"]
    application.score(first.exported, decoded, rows=application.frame.height)
    audit = application.audit(drift_pictures=500)
    assert [one.name for one in audit.findings] == []
    assert {one.statistic for one in audit.drift[first.version]} == set(STATISTICS)

    winter = tmp_path / "winter"
    winter.mkdir()
    for source in application.frame["image_path_or_url"]:
        dark = (decoded(Path(source).read_bytes()) * [0.5, 0.55, 0.7]).astype(np.uint8)
        Image.fromarray(dark).save(winter / Path(source).name, quality=95)
    (folder,) = {str(Path(source).parent) for source in application.frame["image_path_or_url"]}
    application.execute(
        f"UPDATE webcam_snapshots SET firebase_url = replace(firebase_url, '{folder}', '{winter}')",
        "DELETE FROM snapshot_ai_inferences",
    )
    shutil.copytree(first.world.cache / "images", tmp_path / "cache" / "images")
    moved = replace(
        application,
        frame=application.frame.with_columns(
            pl.col("image_path_or_url").str.replace(folder, str(winter), literal=True)
        ),
        images=ImageCache(tmp_path / "cache"),
    )
    moved.score(first.exported, decoded, rows=moved.frame.height)
    audit = moved.audit(drift_pictures=500)
    (finding,) = audit.findings
    assert finding.name == "drift"
    assert "brightness" in finding.sentence
    assert "warmth" in finding.sentence
