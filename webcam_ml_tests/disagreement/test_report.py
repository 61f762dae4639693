import csv
import io
import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webcam_ml.disagreement import (
    DisagreementReport,
    DisagreementSettings,
    expected_correction,
)
from webcam_ml.errors import WebcamMLError
from webcam_ml_tests.disagreement.compared_rows import QUICK, build, compared_rows, picture

FILES = ["disagreement_report.csv", "disagreement_report.json", "gallery.html", "relabel_queue.csv"]
PARTS = ("phase", "split", "star", "webcam")


def stored(report: DisagreementReport, folder) -> dict[str, bytes]:
    folder.mkdir()
    report.save(folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def table(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


# --- what is counted ------------------------------------------------------------------------------


@settings(max_examples=25)
@given(n=st.integers(1, 60), limit=st.integers(1, 80), seed=st.integers(0, 5))
def test_summaries_count_every_row_and_the_limit_only_cuts_the_list(n, limit, seed):
    rows = compared_rows(n, seed=seed, webcams=8).with_columns(
        phase=pl.when(pl.col("snapshot_id") % 7 == 0).then(None).otherwise("phase"),
        sha256=pl.lit(None, dtype=pl.String),
    )
    cut = build(rows, settings=DisagreementSettings(limit=limit, bootstrap_samples=100)).document
    whole = build(rows, settings=DisagreementSettings(limit=1000, bootstrap_samples=100)).document

    for part in PARTS:
        groups = getattr(cut.summary, part)
        assert sum(group.count for group in groups) == n
        assert sum(group.near_threshold for group in groups) == cut.summary.all.near_threshold
    assert cut.summary == whole.summary
    assert cut.near_threshold == whole.near_threshold
    assert cut.worst == whole.worst[:limit]
    assert cut.counts.compared == n
    assert cut.counts.listed == min(n, limit)


def test_summaries_are_the_plain_means_of_all_rows():
    rows = compared_rows(300, seed=4)
    document = build(rows, settings=DisagreementSettings(limit=3, **QUICK)).document
    ai_rating = (1 + 4 * rows["raw_score"].to_numpy()).round(2)
    signed = ai_rating - rows["label_value"].to_numpy()
    star = np.floor(rows["label_value"].to_numpy() + 0.5).astype(int).astype(str)
    near = np.abs(rows["raw_score"].to_numpy() - 0.4) <= 0.1

    keys = {
        "phase": rows["phase"].to_numpy(),
        "split": rows["split"].to_numpy(),
        "star": star,
        "webcam": rows["webcam_id"].to_numpy(),
    }
    for part, key in keys.items():
        groups = getattr(document.summary, part)
        assert len(groups) == len(np.unique(key))
        for group in groups:
            mask = key == (group.webcam_id if part == "webcam" else group.group)
            assert group.count == mask.sum()
            assert group.mean_signed_diff.value == pytest.approx(signed[mask].mean(), abs=1e-6)
            assert group.mean_abs_diff.value == pytest.approx(np.abs(signed[mask]).mean(), abs=1e-6)
            assert group.near_threshold == near[mask].sum()
    everything = document.summary.all
    assert everything.mean_signed_diff.value == pytest.approx(signed.mean(), abs=1e-6)
    for mean in (everything.mean_signed_diff, everything.mean_abs_diff):
        assert mean.low < mean.value < mean.high
    assert document.near_threshold.count == near.sum()


def test_one_webcam_has_means_but_no_interval():
    rows = compared_rows(20).with_columns(webcam_id=pl.lit(7), camera_id=pl.lit(7))
    everything = build(rows).document.summary.all
    assert everything.mean_signed_diff.value is not None
    assert everything.mean_signed_diff.low is None
    assert "webcams" in everything.mean_signed_diff.reason


def test_webcams_that_are_one_camera_are_drawn_together():
    rows = compared_rows(200, seed=4)
    twins = rows.with_columns(webcam_id=pl.col("webcam_id") * 2 + pl.col("snapshot_id") % 2)
    alone, together = build(rows).document.summary.all, build(twins).document.summary.all
    assert together.mean_abs_diff == alone.mean_abs_diff
    assert together.mean_signed_diff == alone.mean_signed_diff
    assert together.webcams > alone.webcams
    torn = build(twins.with_columns(camera_id="webcam_id")).document.summary.all
    assert torn.mean_abs_diff.low != alone.mean_abs_diff.low


def test_the_margin_around_the_threshold_includes_its_ends():
    rows = compared_rows(4).with_columns(raw_score=pl.Series([0.3, 0.5, 0.299, 0.501]))
    assert build(rows).document.near_threshold.count == 2


# --- what is listed -------------------------------------------------------------------------------


def test_rows_carry_the_fields_of_the_contract_and_agree_with_their_input():
    rows = compared_rows(120, seed=2)
    by_id = {row["snapshot_id"]: row for row in rows.to_dicts()}
    worst = build(rows, settings=DisagreementSettings(limit=50, **QUICK)).document.worst
    for row in worst:
        given_row = by_id[row.snapshot_id]
        assert (row.webcam_id, row.phase, row.captured_at, row.split, row.rating_count) == tuple(
            given_row[name]
            for name in ("webcam_id", "phase", "captured_at", "split", "rating_count")
        )
        assert row.prediction_kind == given_row["prediction_kind"]
        assert row.human_rating == given_row["label_value"]
        assert row.ai_rating == round(1 + 4 * given_row["raw_score"], 2)
        assert row.model_version == "binary-resnet18-0a1b2c3d4e5f"
        assert row.abs_diff == pytest.approx(abs(row.ai_rating - row.human_rating), abs=1e-9)
        assert row.direction == ("model_high" if row.ai_rating > row.human_rating else "model_low")


def test_worst_first_by_expected_correction_or_by_plain_difference():
    rows = compared_rows(200, seed=9)
    corrections = dict(zip(rows["snapshot_id"], expected_correction(rows), strict=True))
    worst = build(rows).document.worst
    assert [row.expected_correction for row in worst] == pytest.approx(
        sorted(corrections.values(), reverse=True), abs=1e-4
    )
    assert all(
        row.expected_correction == pytest.approx(corrections[row.snapshot_id], abs=1e-4)
        for row in worst
    )
    plain = build(rows, settings=DisagreementSettings(ranking="abs_diff", **QUICK)).document
    differences = [row.abs_diff for row in plain.worst]
    assert differences == sorted(differences, reverse=True)
    assert plain.ranking.by == "abs_diff"
    assert plain.summary == build(rows).document.summary


def test_rows_of_equal_rank_come_by_plain_difference_and_then_by_number():
    # The model has it the wrong way round, so all scores get the same mean: many equal corrections.
    rows = compared_rows(50).with_columns(
        raw_score=0.9 - pl.col("label_value").floor() / 10,
        label_value=pl.col("snapshot_id") % 2 + pl.col("label_value").floor().clip(1, 4),
        rating_count=pl.lit(1),
    )
    for ranking in ("expected_correction", "abs_diff"):
        settings = DisagreementSettings(ranking=ranking, **QUICK)
        worst = build(rows, settings=settings).document.worst
        order = [(-getattr(row, ranking), -row.abs_diff, row.snapshot_id) for row in worst]
        assert order == sorted(order)
        assert len({key[:2] for key in order}) < len(order)


def test_people_who_never_differ_leave_nothing_to_correct_and_the_report_says_what_to_set(caplog):
    rows = compared_rows(60, seed=2).with_columns(pl.col("label_value").round())
    unanimous = rows.with_columns(
        rating_count=pl.lit(2),
        **{f"stars_{star}": (pl.col("label_value") == star) * 2 for star in range(1, 6)},
    )
    report = build(unanimous)
    said = report.document.ranking.without_effect
    assert "agree on every one of the 60 pictures" in said
    assert "Set ranking to abs_diff" in said
    assert said in caplog.text
    assert said in report.gallery
    assert report.queue.is_empty()
    differences = [row.abs_diff for row in report.document.worst]
    assert differences == sorted(differences, reverse=True)

    # What it says is what helps.
    plain = build(unanimous, settings=DisagreementSettings(ranking="abs_diff", **QUICK))
    assert plain.queue.height > 0
    assert plain.document.ranking.without_effect is None
    assert build(rows).document.ranking.without_effect is None


def test_equal_ratings_have_no_direction():
    rows = compared_rows(2).with_columns(
        raw_score=pl.Series([0.5, 0.5]), label_value=pl.Series([3.0, 1.0])
    )
    directions = {row.human_rating: row.direction for row in build(rows).document.worst}
    assert directions == {3.0: None, 1.0: "model_high"}


def test_a_regression_report_decides_nothing_and_a_binary_one_says_what_its_rating_is():
    rows = compared_rows(40)
    regression = build(
        rows, target_type="regression", decision_threshold=None, model_version="regression-x"
    )
    assert regression.document.near_threshold is None
    assert regression.document.summary.all.near_threshold is None
    assert all(group.near_threshold is None for group in regression.document.summary.webcam)
    assert "probability" not in regression.gallery
    binary = build(rows)
    assert "probability" in binary.document.ai_rating_meaning
    assert "is a probability, not a rating" in binary.gallery


def test_counts_say_what_was_left_out_and_where_pictures_are_gone():
    rows = compared_rows(30).with_columns(
        sha256=pl.when(pl.col("snapshot_id") < 15).then(None).otherwise("sha256")
    )
    counts = build(rows, left_out={"no prediction": 2, "image failed": 4}).document.counts
    assert list(counts.left_out.items()) == [("image failed", 4), ("no prediction", 2)]
    assert counts.pictures_missing == 5
    assert sum(counts.prediction_kinds.values()) == 30


# --- what to rate again ---------------------------------------------------------------------------


def test_the_queue_is_in_order_of_rank_divided_by_the_place_within_its_webcam():
    rows = compared_rows(200, seed=3, webcams=12)
    report = build(rows, settings=DisagreementSettings(limit=60, **QUICK))
    corrections = sorted(
        zip(expected_correction(rows).round(4), rows["webcam_id"], strict=True), reverse=True
    )
    seen: dict[int, int] = {}
    priorities = []
    for correction, webcam in corrections:
        seen[webcam] = seen.get(webcam, 0) + 1
        priorities.append(correction / seen[webcam])
    assert report.queue["priority"].to_list() == pytest.approx(
        sorted(priorities, reverse=True)[:60], abs=1e-5
    )
    assert report.queue["position"].to_list() == list(range(1, 61))


def test_the_queue_covers_more_webcams_than_the_list():
    rows = compared_rows(400, seed=3)
    report = build(rows, settings=DisagreementSettings(limit=30, **QUICK))
    listed = {row.webcam_id for row in report.document.worst}
    assert report.queue["webcam_id"].n_unique() > len(listed)


def test_nobody_is_asked_to_rate_a_picture_that_is_gone():
    rows = compared_rows(50)
    gone = rows.with_columns(
        sha256=pl.when(pl.col("snapshot_id") % 2 == 0).then(None).otherwise("sha256")
    )
    report = build(gone)
    assert (report.queue["snapshot_id"] % 2 == 1).all()
    assert report.document.counts.queued == report.queue.height
    assert any(row.snapshot_id % 2 == 0 for row in report.document.worst)


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "title", ["Camera", None, "", 'a "b", c', "line\r\nbreak\rand tab\t", "=1+1", "شروق 🌅", " x "]
)
def test_a_report_comes_back_from_its_folder_whatever_the_titles(title, tmp_path):
    report = build(compared_rows(30).with_columns(webcam_title=pl.lit(title, dtype=pl.String)))
    files = stored(report, tmp_path / "first")
    assert list(files) == FILES
    again = DisagreementReport.load(tmp_path / "first")
    assert again.document == report.document
    assert again.queue.equals(report.queue)
    assert stored(again, tmp_path / "second") == files


def test_equal_rows_give_equal_bytes_in_any_order_and_beside_any_columns(tmp_path):
    # A webcam that was renamed between its snapshots still has one title in the summary.
    titles = pl.format("Camera {} in {}", "webcam_id", pl.col("captured_at").str.head(7))
    rows = compared_rows(150, seed=7).with_columns(webcam_title=titles)
    other = rows.sample(fraction=1.0, shuffle=True, seed=1).with_columns(extra=pl.lit("x"))
    first = stored(build(rows, left_out={"a": 1, "b": 2}), tmp_path / "first")
    second = stored(build(other, left_out={"b": 2, "a": 1}), tmp_path / "second")
    assert first == second


def test_both_tables_hold_what_the_report_holds(tmp_path):
    report = build(compared_rows(60))
    files = stored(report, tmp_path / "report")
    rows = json.loads(files["disagreement_report.json"])["worst"]
    listed = table(files["disagreement_report.csv"])
    assert list(listed[0]) == list(rows[0])
    assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in rows] == listed
    queued = table(files["relabel_queue.csv"])
    assert [int(row["snapshot_id"]) for row in queued] == report.queue["snapshot_id"].to_list()


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("http://x","y")', "＝1"],
)
def test_no_spreadsheet_runs_a_title(text, tmp_path):
    rows = compared_rows(3).with_columns(webcam_title=pl.lit(text), image_path_or_url=pl.lit(text))
    report = build(rows)
    files = stored(report, tmp_path / "report")
    for name in ("disagreement_report.csv", "relabel_queue.csv"):
        for row in table(files[name]):
            assert row["webcam_title"] == row["image_path_or_url"] == "'" + text
    assert report.document.worst[0].webcam_title == text


def test_commas_quotes_and_line_breaks_stay_in_their_cell(tmp_path):
    text = 'a, "b"\nc; =d'
    files = stored(build(compared_rows(3).with_columns(webcam_title=pl.lit(text))), tmp_path / "r")
    assert {row["webcam_title"] for row in table(files["disagreement_report.csv"])} == {text}


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"limit": 0}, "limit is 0"),
        ({"limit": -5}, "limit is -5"),
        ({"limit": 1_000_000}, "limit is 1000000"),
        ({"ranking": "mistakenness"}, "expected_correction"),
        ({"near_threshold_margin": -0.1}, "near_threshold_margin"),
        ({"near_threshold_margin": float("nan")}, "near_threshold_margin"),
        ({"bootstrap_samples": 1}, "bootstrap_samples"),
        ({"random_state": -1}, "random_state"),
    ],
)
def test_settings_that_make_no_report_are_refused_with_what_to_set(setting, says):
    with pytest.raises(WebcamMLError, match=says) as raised:
        DisagreementSettings(**setting)
    assert "it must be " in str(raised.value)


def test_no_row_at_all_is_an_error_that_says_what_was_left_out():
    with pytest.raises(WebcamMLError, match=r"image failed: 12"):
        build(compared_rows(3).clear(), left_out={"image failed": 12})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("label_value", 0.75),
        ("label_value", None),
        ("label_value", float("nan")),
        ("raw_score", 1.5),
        ("raw_score", float("nan")),
        ("rating_count", 0),
    ],
)
def test_values_off_their_scale_are_refused_by_name(column, value):
    rows = compared_rows(5)
    spoilt = rows.with_columns(
        pl.when(pl.col("snapshot_id") == 12).then(value).otherwise(column).alias(column)
    )
    with pytest.raises(WebcamMLError, match=rf"1 of 5 compared rows have a {column}.*snapshot 12"):
        build(spoilt)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows.drop("phase"), "phase"),
        (lambda rows: pl.concat([rows, rows]), "more than once"),
        (lambda rows: rows.with_columns(split=pl.lit("holdout")), "holdout"),
        (
            lambda rows: rows.with_columns(split=pl.lit("train"), prediction_kind=pl.lit("model")),
            "out-of-fold",
        ),
        (
            lambda rows: rows.with_columns(
                prediction_kind=pl.Series(["recorded", *rows["prediction_kind"][1:]])
            ),
            "never compared together",
        ),
    ],
)
def test_rows_that_break_the_contract_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        build(change(compared_rows(6)))


def test_a_regression_model_has_no_threshold():
    with pytest.raises(ValueError, match="decision_threshold"):
        build(compared_rows(6), target_type="regression")


def test_a_picture_that_cannot_be_had_costs_its_row_nothing_else(caplog):
    def broken(sha256: str):
        if sha256.endswith("1"):
            raise WebcamMLError("the cache entry is damaged")
        return picture(sha256)

    report = build(compared_rows(4), thumbnail=broken)
    assert report.document.counts.listed == 4
    assert report.gallery.count('class="gone"') == 1
    assert "the cache entry is damaged" in caplog.text


# --- scale ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [6_000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_many_rows_open_no_more_pictures_and_leave_a_small_gallery(n):
    rows = compared_rows(n, webcams=n // 16)
    opened = []

    def counted(sha256: str):
        opened.append(sha256)
        return picture(sha256)

    report = build(rows, thumbnail=counted, settings=DisagreementSettings(bootstrap_samples=500))
    assert report.document.summary.all.count == n
    listed = {row.sha256 for row in report.document.worst}
    queued = rows.join(report.queue.select("snapshot_id"), on="snapshot_id", how="semi")["sha256"]
    assert sorted(opened) == sorted(listed | set(queued))
    assert len(report.gallery.encode()) < 5_000_000


# What a report needs beside the libraries; in a process of its own, for a peak never goes down.
PEAK = """
import resource, sys
from webcam_ml.disagreement import DisagreementSettings
from webcam_ml_tests.disagreement.compared_rows import build, compared_rows
rows = compared_rows(int(sys.argv[1]), webcams=600)
build(rows.head(300), settings=DisagreementSettings())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
build(rows, settings=DisagreementSettings())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_fifty_thousand_rows_need_no_more_than_some_dozen_megabytes():
    command = [sys.executable, "-c", PEAK, "50000"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 150
