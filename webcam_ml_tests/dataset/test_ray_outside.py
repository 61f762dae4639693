"""A run that is no part of the Ray cluster, or of one that has a token, or no memory."""

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from webcam_ml_tests.dataset.ray_pictures import (
    PICTURES,
    SCRIPT,
    Slow,
    compute,
    drive,
    store_pictures,
)
from webcam_ml_tests.ray_cluster import DEADLINE, ROOT, running_cluster

pytestmark = pytest.mark.deployed
# Ray's client from outside of a cluster fails now and then to connect on a busy machine, whoever asks.
from_outside = pytest.mark.slow


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    return store_pictures(tmp_path_factory.mktemp("pictures"))


@from_outside
def test_a_process_outside_of_the_cluster_uses_it_too(
    pictures: tuple[Path, list[str]], tmp_path: Path
) -> None:
    cache, digests = pictures
    work = Slow(tmp_path / "notes")
    # Ray's server for clients looks for its node by the address, so it wants one node an address.
    with running_cluster(tmp_path / "cluster", nodes=1) as cluster:
        subprocess.run(
            [sys.executable, "-c", SCRIPT, cache, work.notes, cluster.client_address, *digests],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
        )
    assert compute(cache, digests, work, None)[0] == 0
    assert len(work.workers()) == PICTURES


@from_outside
def test_a_head_that_dies_is_an_error_that_says_so_and_its_results_are_kept(
    pictures: tuple[Path, list[str]], tmp_path: Path
) -> None:
    cache, digests = pictures
    work = Slow(tmp_path / "notes", seconds=0.1)
    script = SCRIPT.replace("Slow(Path(notes))", "Slow(Path(notes), seconds=0.1)")
    with running_cluster(tmp_path / "cluster", nodes=1) as cluster:
        run = subprocess.Popen(
            [sys.executable, "-c", script, cache, work.notes, cluster.client_address, *digests],
            # After so many seconds a client gives its head up.
            env={
                **os.environ, "PYTHONPATH": str(ROOT), "RAY_CLIENT_RECONNECT_GRACE_PERIOD": "2",
            },
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        began = time.monotonic()
        try:
            while len(work.workers()) < PICTURES // 2:
                assert run.poll() is None, run.communicate()
                assert time.monotonic() < began + DEADLINE
                time.sleep(0.05)
            cluster.kill(cluster.nodes[0])
            # Ray would start a cluster here, or look for one, and come to no end.
            _, said = run.communicate(timeout=DEADLINE)
        finally:
            run.kill()
    # Once of some ten times gRPC crashed in a thread of Ray's client, which is as a run that was killed.
    if run.returncode != -signal.SIGSEGV:
        assert run.returncode == 1, said
        assert "WebcamMLError: the Ray cluster was lost" in said
    assert 0 < compute(cache, digests, work, None)[0] < PICTURES


@from_outside
def test_a_cluster_with_a_token_is_for_those_who_have_it(
    pictures: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """As in deploy/kubernetes/ray.yaml: the run is no part of the cluster, and has the token."""
    cache, digests = pictures
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16)}
    with running_cluster(tmp_path / "cluster", nodes=1, variables=token) as closed:
        with_token = f"import os; os.environ.update({token})"
        spoke = drive(with_token, closed.client_address, cache, digests[0], how="speaks")
        said = drive("pass", closed.address, tmp_path)
    assert "this picture means nothing" in spoke
    assert "set RAY_AUTH_MODE=token and its RAY_AUTH_TOKEN" in said


def test_a_worker_without_memory_is_an_error_that_says_so(
    pictures: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """As Ray's monitor sees it: it is told that 1 % of the memory is all that there is."""
    cache, digests = pictures
    scarce = {
        "RAY_memory_usage_threshold": "0.01",
        "RAY_memory_monitor_refresh_ms": "50",
        "RAY_task_oom_retry_delay_base_ms": "10",
    }
    with running_cluster(tmp_path / "cluster", nodes=1, variables=scarce) as short:
        said = drive(f"import os; os.environ.update({scarce})", short.address, cache, digests[0])
    assert "memory monitor" in said
