"""What people's label is made of and what judges said, in every form of the report."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import polars as pl

from webcam_ml.contracts import JUDGEMENTS_TABLE
from webcam_ml.dataset import build_manifest
from webcam_ml.dataset.images import ImageCache
from webcam_ml.dataset.judges import Calibration, Overlap, fit_median
from webcam_ml.disagreement import DisagreementReport
from webcam_ml.disagreement._said import SaidOfRows
from webcam_ml.orchestration.presentation import of_disagreement
from webcam_ml_tests.dataset.judges.said import JUDGES, many_labels
from webcam_ml_tests.disagreement.compared_rows import build, compared_rows
from webcam_ml_tests.world import make_labels

STARS = fit_median(np.array([0.0, 0.2, 0.4]), np.array([1.0, 2.0, 4.0]))
NAME = "<b>one</b>=1"
ROWS = compared_rows(40)


def said() -> SaidOfRows:
    """Of every row a vote in stars; of the first three more; judges score the even ones."""
    ids = ROWS["snapshot_id"].to_list()
    rows: list[tuple[object, ...]] = [(id, "stars", None, 3.0, 2, 0.5) for id in ids]
    rows += [(ids[0], "no_sunset", None, 1.0, 1, 0.0), (ids[0], "gold", None, 5.0, 1, 0.0)]
    rows += [(ids[1], "no_sunset", None, 1.0, 3, 0.0), (ids[2], "gold_no_sunset", None, 1.0, 1, 0)]
    rows += [(id, "score", NAME, 0.3, 1, None) for id in ids[::2]]
    rows += [(id, "score", "mute", 0.9, 1, None) for id in ids[::4]]
    frame = pl.DataFrame(rows, schema=JUDGEMENTS_TABLE.names, orient="row")
    overlap = Overlap(900, 90, 180)
    return SaidOfRows(
        frame.cast(JUDGEMENTS_TABLE.schema),
        {
            NAME: Calibration(NAME, None, overlap, stars=STARS),
            "mute": Calibration("mute", "too few", overlap),
        },
    )


def files(report: DisagreementReport, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    report.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_each_row_says_what_its_label_is_made_of_and_what_judges_said(tmp_path: Path) -> None:
    report = build(ROWS, said=said())
    rows = {row.snapshot_id: row for row in report.document.worst}
    assert len(rows) == ROWS.height
    first, second, third, fourth = ROWS["snapshot_id"].to_list()[:4]
    found = {id: row.said for id, row in rows.items()}
    told = found[first]
    assert told is not None
    assert told.votes == {"gold": 1, "no_sunset": 1, "stars": 2}
    assert [(one.judge, one.score, one.stars, one.speaks) for one in told.judges] == [
        (NAME, 0.3, 3.0, True), ("mute", 0.9, None, False),
    ]  # fmt: skip
    assert found[second].votes == {"no_sunset": 3, "stars": 2}
    assert [one.judge for one in found[third].judges] == [NAME]
    assert found[fourth].judges == []
    files(report, tmp_path / "stored")
    assert DisagreementReport.load(tmp_path / "stored").document == report.document


def test_the_csv_has_a_column_for_each_kind_of_vote_and_two_for_each_judge(tmp_path: Path) -> None:
    stored = files(build(ROWS, said=said()), tmp_path / "judged")
    table = list(csv.DictReader(io.StringIO(stored["disagreement_report.csv"].decode())))
    plain = files(build(ROWS), tmp_path / "plain")
    columns = next(csv.reader(io.StringIO(plain["disagreement_report.csv"].decode())))
    assert list(table[0]) == [
        *columns, "votes_stars", "votes_no_sunset", "votes_gold", "votes_gold_no_sunset",
        f"judge:{NAME} score", f"judge:{NAME} stars", "judge:mute score", "judge:mute stars",
    ]  # fmt: skip
    by_id = {int(row["snapshot_id"]): row for row in table}
    first, second = (by_id[id] for id in ROWS["snapshot_id"].to_list()[:2])
    assert (first["votes_stars"], first["votes_gold"], first["votes_no_sunset"]) == ("2", "1", "1")
    assert (first[f"judge:{NAME} score"], first[f"judge:{NAME} stars"]) == ("0.3", "3.0")
    assert (first["judge:mute score"], first["judge:mute stars"]) == ("0.9", "")
    assert (second["votes_gold"], second[f"judge:{NAME} score"]) == ("0", "")


def test_cards_and_page_show_it_as_text(tmp_path: Path) -> None:
    report = build(ROWS, said=said())
    assert "&lt;b&gt;one&lt;/b&gt;=1: 0.3 means 3.0 ★" in report.gallery
    assert "<b>one</b>" not in report.gallery
    assert "mute: 0.9, does not speak" in report.gallery
    assert "2 ratings in stars, 1 N (no sunset: one star), 1 gold label" in report.gallery
    assert "3 N (no sunset: one star each)" in report.gallery
    shown = of_disagreement(report, images=ImageCache(tmp_path))
    (worst,) = (value for name, value in shown.items() if name.endswith("worst"))
    assert "| judges |" in worst.value
    assert r"\<b\>one\</b\>=1 0.3 = 3 stars" in worst.value


def test_where_no_judge_is_heard_nothing_is_said_of_any(tmp_path: Path) -> None:
    report = build(ROWS)
    stored = files(report, tmp_path / "plain")
    assert all("said" not in row for row in json.loads(stored["disagreement_report.json"])["worst"])
    assert "Label made of" not in report.gallery
    assert SaidOfRows.in_manifest(build_manifest(make_labels())) is None


def test_it_is_taken_from_the_manifest() -> None:
    manifest = build_manifest(many_labels(JUDGES))
    found = SaidOfRows.in_manifest(manifest)
    assert found is not None
    assert manifest.said is not None
    row = manifest.said.row(0, named=True)
    (judge,) = found.of([row["snapshot_id"]])[row["snapshot_id"]].judges
    assert (judge.judge, judge.score) == (row["judge"], row["value"])
    assert manifest.meta.heard is not None
    speaking = manifest.meta.heard.speaking
    assert judge.speaks == (judge.judge in speaking)
