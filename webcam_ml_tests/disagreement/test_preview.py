"""The report in small: what another page may show of it."""

import io

import numpy as np
import polars as pl
from PIL import Image

from webcam_ml.disagreement import draw_differences, small_pictures
from webcam_ml.errors import WebcamMLError
from webcam_ml_tests.disagreement.compared_rows import build, compared_rows


def noise(sha256: str) -> np.ndarray:
    """What JPEG is worst at."""
    random = np.random.default_rng(int(sha256, 16))
    return random.integers(0, 256, (720, 1280, 3), dtype=np.uint8)


def test_ten_pictures_stay_small_whatever_they_show():
    rows = build(compared_rows(30)).document.worst[:10]
    pictures = small_pictures(rows, decode=noise)
    assert list(pictures) == [row.snapshot_id for row in rows]
    assert sum(len(picture) for picture in pictures.values()) * 4 / 3 < 60_000
    for picture in pictures.values():
        assert Image.open(io.BytesIO(picture)).format == "JPEG"


def test_pictures_that_are_gone_or_unreadable_are_left_out(caplog):
    rows = compared_rows(30).with_columns(
        sha256=pl.when(pl.col("snapshot_id") == 11).then(None).otherwise("sha256")
    )

    def decode(sha256: str) -> np.ndarray:
        if int(sha256, 16) == 2:
            raise WebcamMLError("the file is damaged")
        return noise(sha256)[:90, :160]

    listed = [row for row in build(rows).document.worst if row.snapshot_id < 14]
    assert {row.snapshot_id for row in listed} == {10, 11, 12, 13}
    assert set(small_pictures(listed, decode=decode)) == {10, 13}
    assert "snapshot 12 is shown without its picture: the file is damaged" in caplog.text


def test_the_plot_is_a_pure_function_of_the_report_and_has_a_row_for_each_phase():
    rows = compared_rows(60)
    both, again = (draw_differences(build(rows).document) for _ in range(2))
    assert both == again
    one = draw_differences(build(rows.with_columns(phase=pl.lit("sunset"))).document)
    assert Image.open(io.BytesIO(both)).height > Image.open(io.BytesIO(one)).height


def test_a_single_webcam_has_no_interval_and_is_drawn_all_the_same():
    rows = compared_rows(12, webcams=1).with_columns(
        webcam_id=pl.lit(7),
        camera_id=pl.lit(7),
        split=pl.lit("test"),
        prediction_kind=pl.lit("model"),
    )
    document = build(rows).document
    assert document.summary.all.mean_abs_diff.low is None
    assert draw_differences(document).startswith(b"\x89PNG")
