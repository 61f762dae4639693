import pytest

from webcam_ml.evaluation import EvalReport
from webcam_ml_tests.evaluation.frames import predictions, report


@pytest.fixture(scope="module", params=["binary", "regression"])
def target_type(request):
    return request.param


def test_a_report_survives_saving_and_loading(target_type, tmp_path):
    made = report(target_type)
    made.save(tmp_path)
    assert EvalReport.load(tmp_path) == made


def test_equal_inputs_in_any_order_give_equal_bytes(target_type, tmp_path):
    frame = predictions(target_type)
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder, rows in zip(folders, (frame, frame.reverse()), strict=True):
        folder.mkdir()
        report(target_type, rows).save(folder)
    first, second = ({p.name: p.read_bytes() for p in f.iterdir()} for f in folders)
    assert first == second
    assert "eval_report.json" in first
