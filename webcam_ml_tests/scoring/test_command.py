"""`webcam-ml score`: one JSON object a line on stdout, everything else on stderr."""

import argparse
import json
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from webcam_ml.cli import main
from webcam_ml.errors import WebcamMLError
from webcam_ml.scoring import (
    Scorer,
    WebcamMetadata,
    add_score_command,
    baseline_score,
)
from webcam_ml_tests.scoring.models import VERSION, tiny_model, write_model
from webcam_ml_tests.scoring.pictures import HTML, encoded, photograph

AI_VARIABLES = ("AI_SCORING_MODE", "AI_MODEL_VERSION", "AI_ONNX_MODEL_PATH")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in AI_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    files = [tmp_path / f"{seed}.jpg" for seed in range(3)]
    for seed, file in enumerate(files):
        file.write_bytes(encoded(photograph(seed=seed)))
    return [str(file) for file in files]


@pytest.fixture
def model_path(tmp_path: Path) -> str:
    return str(write_model(tmp_path / "live", tiny_model()))


def no_network(url: str) -> bytes:
    raise WebcamMLError(f"nobody asked for {url}")


def score(*arguments: str, fetch: Callable[[str], bytes] = no_network) -> int:
    parser = argparse.ArgumentParser()
    add_score_command(parser.add_subparsers(), fetch=fetch)
    parsed = parser.parse_args(["score", *arguments])
    code = parsed.run(parsed)
    assert isinstance(code, int)
    return code


def test_each_image_is_one_line_with_exactly_the_three_keys(
    pictures: list[str], model_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = score(*pictures, "--model", model_path)

    scorer = Scorer("onnx", model_path=model_path)
    printed = capsys.readouterr()
    assert code == 0
    assert printed.err == ""
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert lines == [scorer.score(picture).to_dict() for picture in pictures]
    assert all(list(line) == ["rawScore", "aiRating", "modelVersion"] for line in lines)


def test_blanks_and_line_ends_around_a_path_are_none_of_it(
    pictures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(f" {pictures[0]}\n", f"{pictures[1]}\r") == 0
    trimmed = capsys.readouterr().out
    assert score(*pictures[:2]) == 0
    assert trimmed == capsys.readouterr().out


def test_the_environment_chooses_the_model(
    pictures: list[str],
    model_path: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert score(pictures[0]) == 0
    monkeypatch.setenv("AI_SCORING_MODE", "onnx")
    monkeypatch.setenv("AI_ONNX_MODEL_PATH", model_path)
    assert score(pictures[0]) == 0

    versions = [json.loads(line)["modelVersion"] for line in capsys.readouterr().out.splitlines()]
    assert versions == ["baseline-v1", VERSION]


def test_stderr_says_who_speaks_and_why(
    pictures: list[str],
    model_path: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    score(pictures[0])
    unset = capsys.readouterr().err
    assert "baseline-v1, which knows nothing of the picture: AI_SCORING_MODE is not onnx" in unset
    assert "scorer.env" in unset
    monkeypatch.setenv("AI_SCORING_MODE", "onnx")
    score(pictures[0])
    assert "baseline-v1 instead of a model: AI_SCORING_MODE is onnx" in capsys.readouterr().err
    monkeypatch.setenv("AI_ONNX_MODEL_PATH", model_path)
    score(pictures[0])
    assert capsys.readouterr().err == f"scoring with {VERSION} ({model_path})\n"


def test_a_model_that_is_nowhere_gives_baseline_exit_0_and_the_reason(
    pictures: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("AI_SCORING_MODE", "onnx")
    monkeypatch.setenv("AI_ONNX_MODEL_PATH", "nowhere/model.onnx")

    assert score(*pictures) == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["modelVersion"] for line in lines] == ["baseline-v1"] * 3
    assert f"there is no model at {Path.cwd() / 'nowhere' / 'model.onnx'}" in caplog.text


def test_a_model_that_was_asked_for_by_name_is_never_replaced_by_the_baseline(
    pictures: list[str], model_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WebcamMLError, match="there is no model at"):
        score(pictures[0], "--model", model_path + ".gone")
    damaged = Path(model_path)
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(WebcamMLError, match="damaged or changed"):
        score(pictures[0], "--model", model_path)
    assert capsys.readouterr().out == ""


def test_a_named_model_that_fails_on_a_picture_gives_no_score_for_it(
    pictures: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model_path = write_model(tmp_path / "picky", tiny_model(needs_width=100))

    assert score(pictures[0], "--model", str(model_path)) == 1

    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"error": "model_failed"}
    assert f"{pictures[0]}: {VERSION} failed while running: " in printed.err


def test_the_option_wins_over_the_whole_environment(
    pictures: list[str],
    model_path: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AI_SCORING_MODE", "baseline")
    monkeypatch.setenv("AI_MODEL_VERSION", "binary-another")

    assert score(pictures[0], "--model", model_path) == 0
    assert json.loads(capsys.readouterr().out)["modelVersion"] == VERSION


def test_bad_images_are_named_on_stderr_and_make_the_exit_code_1(
    pictures: list[str], tmp_path: Path, model_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.jpg"
    page.write_bytes(HTML)
    missing = str(tmp_path / "missing.jpg")

    code = score(pictures[0], str(page), missing, pictures[1], "--model", model_path)

    printed = capsys.readouterr()
    assert code == 1
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [line.get("error") for line in lines] == [None, "not_an_image", "unreadable", None]
    about_page, about_missing = printed.err.splitlines()
    assert about_page.startswith(f"{page}: not_an_image: this looks like an HTML page")
    assert about_missing.startswith(f"{missing}: unreadable: ")


def test_urls_are_fetched_by_whoever_built_the_command_line(
    pictures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        if "dead" in url:
            raise WebcamMLError("the host is dead")
        return Path(pictures[0]).read_bytes()

    code = score("https://cams.example/1.jpg", "gs://bucket/dead.jpg", pictures[1], fetch=fetch)

    printed = capsys.readouterr()
    assert code == 1
    assert sorted(asked) == ["gs://bucket/dead.jpg", "https://cams.example/1.jpg"]
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [line.get("error") for line in lines] == [None, "unreadable", None]
    assert printed.err.endswith("\ngs://bucket/dead.jpg: unreadable: the host is dead\n")


def test_an_address_of_the_own_network_gets_advice_that_the_command_can_follow(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["score", "http://192.168.1.1/now.jpg"]) == 1
    said = capsys.readouterr().err
    assert "save the picture (curl -o picture.jpg URL) and score the file" in said
    assert "allow_private_addresses" not in said


def test_a_password_in_a_url_is_never_printed(capsys: pytest.CaptureFixture[str]) -> None:
    url = "https://me:hunter2@cams.example:8443/a.jpg?size=1"
    picture = encoded(photograph())

    score(url, "--details", fetch=lambda _: picture)
    score(url, fetch=lambda _: HTML)

    printed = capsys.readouterr()
    assert "hunter2" not in printed.out + printed.err
    assert (
        json.loads(printed.out.splitlines()[0])["source"]
        == "https://cams.example:8443/a.jpg?size=1"
    )
    assert "\nhttps://cams.example:8443/a.jpg?size=1: not_an_image" in printed.err


def test_details_tell_who_spoke_about_what(
    pictures: list[str],
    model_path: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    score(pictures[0], "--details", "--model", model_path)
    monkeypatch.setenv("AI_SCORING_MODE", "onnx")
    monkeypatch.setenv("AI_ONNX_MODEL_PATH", model_path + ".gone")
    score(pictures[0], "--details")

    model, fallback = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert list(model)[:3] == ["rawScore", "aiRating", "modelVersion"]
    about_image = {"source": pictures[0], "width": 64, "height": 48, "format": "JPEG"}
    assert model.items() >= about_image.items()
    assert model.items() >= {
        "path": "onnx", "fallbackReason": None, "targetType": "binary", "decisionThreshold": 0.4,
    }.items()  # fmt: skip
    assert fallback.items() >= about_image.items()
    assert fallback["path"] == "baseline"
    assert "there is no model at" in fallback["fallbackReason"]
    assert (fallback["targetType"], fallback["decisionThreshold"]) == (None, None)


def test_the_baseline_hears_what_is_known_of_the_webcam(
    pictures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    score(pictures[0], "--view-count", "5000", "--rating", "4", "--phase", "sunset")

    expected = baseline_score(5000, 4, "sunset")
    assert json.loads(capsys.readouterr().out) == expected.to_dict()
    assert WebcamMetadata(5000, 4, "sunset") == WebcamMetadata(
        view_count=5000, rating=4, phase="sunset"
    )


@pytest.mark.parametrize("arguments", [[], ["a.jpg", "--threads", "0"], ["a.jpg", "--phase", "x"]])
def test_a_command_that_makes_no_sense_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        score(*arguments)

    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "source", ["evil\x1b[31m\nline2.jpg", "http://ada:s3cret@[x/\x9b\nline2.jpg"]
)
def test_a_name_has_no_effect_on_the_terminal(
    source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(url: str) -> bytes:
        raise WebcamMLError("the host says\n\x1b[2Jno")

    assert score(source, fetch=refuse) == 1

    said, failure = capsys.readouterr().err.splitlines()
    assert said.startswith("scoring with baseline-v1")
    assert r"\nline2.jpg: unreadable: " in failure
    assert not {"\x1b", "\x9b"} & set(failure)
    assert "s3cret" not in failure


def test_an_unknown_mode_stops_the_command(
    pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_SCORING_MODE", "onxx")

    with pytest.raises(WebcamMLError, match="'onxx'"):
        score(pictures[0])


def test_a_terminal_shows_progress_and_stdout_stays_clean(pictures: list[str]) -> None:
    script = """
import argparse, sys
from webcam_ml.scoring import add_score_command
parser = argparse.ArgumentParser()
add_score_command(parser.add_subparsers(), fetch=lambda url: b"")
arguments = parser.parse_args(sys.argv[1:])
sys.exit(arguments.run(arguments))
"""
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 100))
    environ = {name: value for name, value in os.environ.items() if name not in AI_VARIABLES}

    ran = subprocess.run(
        [sys.executable, "-c", script, "score", *pictures * 4],
        stdout=subprocess.PIPE,
        stderr=end,
        env=environ,
        check=True,
    )

    os.write(end, b"the end")  # so that there is something to read in any case
    shown = os.read(terminal, 65_536).decode()
    os.close(end)
    os.close(terminal)
    assert "scoring" in shown
    assert "12" in shown
    assert [json.loads(line)["modelVersion"] for line in ran.stdout.splitlines()] == [
        "baseline-v1"
    ] * 12
