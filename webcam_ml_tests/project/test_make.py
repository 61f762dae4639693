"""What `make` installs: for a demo, for the tests, and with `TORCH=cpu` a torch without CUDA."""

import os
import subprocess
from pathlib import Path

import pytest

from webcam_ml_tests.integration.project import REPOSITORY


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def test_torch_of_the_cpu_index_is_there_before_all_else_is_installed(tmp_path: Path) -> None:
    told = make("-n", "install", f"VENV={tmp_path}", "TORCH=cpu", "TORCH_INDEX=https://mine/cpu")
    assert told.returncode == 0
    index = told.stdout.index("--index-url https://mine/cpu torch torchvision")
    assert "-c constraints.txt --no-deps" in told.stdout[:index]
    assert index < told.stdout.index("-e .\n") < told.stdout.index("-e '.[dev]'")
    plain = make("-n", "install", f"VENV={tmp_path}")
    assert "-e '.[dev]'" in plain.stdout
    assert "--index-url" not in plain.stdout


def test_a_demo_goes_without_what_only_tests_need(tmp_path: Path) -> None:
    demo, page, tests = (
        make("-n", target, f"VENV={tmp_path}").stdout for target in ("demo", "dev", "test")
    )
    for told in (demo, page):
        assert "-c constraints.txt -e .\n" in told
        assert "[dev]" not in told
    assert tests.index("-e .\n") < tests.index("-e '.[dev]'") < tests.index("pytest -n auto")


def test_another_torch_than_that_of_the_cpu_is_refused() -> None:
    refused = make("-n", "install", "TORCH=gpu")
    assert refused.returncode == 2
    assert "TORCH is gpu; it can be cpu, or be left out" in refused.stderr


@pytest.mark.slow
def test_an_index_that_cannot_be_reached_is_named_with_the_ways_out(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    failed = make(
        "install",
        f"VENV={venv}",
        "TORCH=cpu",
        "TORCH_INDEX=http://127.0.0.1:9/cpu",
        PIP_RETRIES="0",
    )
    assert failed.returncode == 2
    assert "cannot be had from http://127.0.0.1:9/cpu: see above why" in failed.stderr
    assert "TORCH_INDEX=… names another index" in failed.stderr
    assert not list(venv.glob(".installed*"))
