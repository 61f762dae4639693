import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from webcam_ml.demo import add_demo_data_command


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_demo_data_command(parser.add_subparsers())
    return parser.parse_args(["demo-data", *arguments])


def test_the_command_makes_a_demo_and_says_what_there_is(tmp_path, capsys):
    arguments = parse(
        *("--folder", str(tmp_path / "demo"), "--webcams", "10", "--snapshots", "30"),
        *("--image-width", "64", "--raters", "2", "--unrated", "0.2", "--seed", "5"),
    )
    assert arguments.run(arguments) == 0
    said = capsys.readouterr().out
    assert "Demo data made" in said
    assert "10 webcams, 30 rated snapshots" in said
    assert str(tmp_path / "demo" / "labels.sqlite") in said
    assert arguments.run(arguments) == 0
    assert "Demo data unchanged: 0 pictures drawn" in capsys.readouterr().out


def test_drawing_says_how_far_it_is_where_there_is_no_terminal(tmp_path):
    script = """
import sys
from webcam_ml import progress
from webcam_ml.cli import main
progress.SECONDS_BETWEEN_LINES = 0
sys.exit(main(sys.argv[1:]))
"""
    ran = subprocess.run(
        [
            sys.executable, "-c", script, "demo-data", "--folder", str(tmp_path / "demo"),
            "--webcams", "10", "--snapshots", "20", "--unrated", "0", "--image-width", "64",
        ],
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    assert "drawing webcams: 2 of 20 pictures" in ran.stderr
    assert "of 20 pictures" not in ran.stdout


def test_what_draws_ends_with_a_command_that_was_killed(tmp_path):
    command = [str(Path(sys.executable).with_name("webcam-ml")), "demo-data", "--folder", "demo"]
    with subprocess.Popen([*command, "--snapshots", "3000"], cwd=tmp_path) as making:
        while not list(tmp_path.glob("demo/images/*.jpg")):
            assert making.poll() is None
            time.sleep(0.05)
        drawing = psutil.Process(making.pid).children(recursive=True)
        making.send_signal(signal.SIGKILL)
    assert drawing
    _, alive = psutil.wait_procs(drawing, timeout=60)
    assert not alive
