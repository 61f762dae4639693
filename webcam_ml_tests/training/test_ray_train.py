"""Fine-tuning by processes of a real Ray cluster, of which some die."""

import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from webcam_ml.dataset.images import ImageCache, RayEngine, import_ray
from webcam_ml.errors import WebcamMLError
from webcam_ml.training import FineTuneSettings
from webcam_ml.training import _ray_train as ray_train
from webcam_ml.training._finetune import FineTuned, FineTuneTask, fine_tune
from webcam_ml.training._ray_train import machine_of_cluster
from webcam_ml_tests.ray_cluster import ROOT, RayCluster, running_cluster
from webcam_ml_tests.training.test_finetune import SHORT, make_task
from webcam_ml_tests.world import World, make_world

# Ray leaves sockets and files to the end of the process.
pytestmark = [
    pytest.mark.deployed,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning"),
]

EPOCHS = 4
NODES = 3
LONG = SHORT.model_copy(
    update={"epochs": EPOCHS, "patience": EPOCHS, "batch_size": 4, "accelerator": "cpu"}
)
ON_CLUSTER = LONG.model_copy(update={"num_workers": 2})
DEADLINE = 120.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), nodes=NODES) as running:
        yield running


@pytest.fixture(autouse=True)
def _looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_train, "SECONDS_BETWEEN_LOOKS", 0.05)


@pytest.fixture(autouse=True)
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def task(world: World) -> FineTuneTask:
    return make_task(world)


@pytest.fixture(scope="module")
def local(world: World, task: FineTuneTask, tmp_path_factory: pytest.TempPathFactory) -> FineTuned:
    """By two processes that Lightning starts on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        # As Ray gives each process of a core one thread.
        patch.setenv("OMP_NUM_THREADS", "1")
        return fine_tune(
            task,
            settings=LONG.model_copy(update={"devices": 2}),
            images=world.images,
            cache=tmp_path_factory.mktemp("local"),
        )


def tune(
    world: World,
    task: FineTuneTask,
    cache: Path,
    address: str,
    settings: FineTuneSettings = ON_CLUSTER,
) -> FineTuned:
    images = ImageCache(world.cache, RayEngine(address))
    return fine_tune(task, settings=settings, images=images, cache=cache)


def assert_equal(found: FineTuned, expected: FineTuned) -> None:
    for name in ("history", "best_epoch", "stopped", "machine"):
        assert getattr(found, name) == getattr(expected, name)
    assert found.backbone is not None
    assert expected.backbone is not None
    for name, tensor in expected.backbone.items():
        assert torch.equal(found.backbone[name], tensor)
    assert found.head is not None
    assert expected.head is not None
    np.testing.assert_array_equal(found.head.weight, expected.head.weight)


def epochs_in(log: str) -> list[int]:
    return [int(epoch) for epoch in re.findall(r"epoch (\d+): training loss", log)]


def assert_no_finished_epoch_was_done_again(log: str) -> None:
    """An epoch says its loss, is kept, and the next begins; where it dies between, it says it twice."""
    done = -1
    for again, said in re.findall(r"goes on after epoch (\d+)|epoch (\d+): training loss", log):
        if again:
            assert int(again) in (done - 1, done)
        else:
            assert int(said) == done + 1
        done = int(again or said)
    assert done == EPOCHS


def workers_of(
    node: subprocess.Popen[bytes], name: str = "ray::RayTrainWorker"
) -> list[psutil.Process]:
    """The processes of a node that train, or have another name."""
    found = []
    for process in psutil.Process(node.pid).children(recursive=True):
        try:
            if process.cmdline()[0].startswith(name):
                found.append(process)
        except (psutil.Error, IndexError):
            continue  # it is over
    return found


def wait_until(condition: Callable[[], Any]) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + DEADLINE
        time.sleep(0.02)


def cores_are_free() -> bool:
    return bool(import_ray().available_resources().get("CPU") == NODES)


def test_two_processes_of_a_cluster_train_what_two_of_one_machine_train(
    world: World,
    task: FineTuneTask,
    local: FineTuned,
    cluster: RayCluster,
    tmp_path: Path,
    said: pytest.LogCaptureFixture,
) -> None:
    assert_equal(tune(world, task, tmp_path, cluster.address), local)
    assert epochs_in(said.text) == list(range(EPOCHS + 1))
    wait_until(cores_are_free)


@pytest.mark.parametrize("victim", ["a worker", "a node"])
def test_what_dies_in_an_epoch_costs_that_epoch_and_changes_nothing(
    world: World,
    task: FineTuneTask,
    local: FineTuned,
    cluster: RayCluster,
    tmp_path: Path,
    said: pytest.LogCaptureFixture,
    victim: str,
) -> None:
    def strike() -> None:
        wait_until(lambda: list(tmp_path.glob("finetuning/*/state.pt")))
        # The head has the coordinator; without it there is no cluster.
        node = next(node for node in cluster.nodes[1:] if node.poll() is None and workers_of(node))
        if victim == "a worker":
            workers_of(node)[0].kill()
        else:
            cluster.kill(node)

    killer = threading.Thread(target=strike)
    killer.start()
    found = tune(world, task, tmp_path, cluster.address)
    killer.join()
    if victim == "a node":
        cluster.join()
    assert_equal(found, local)
    assert "fine-tuning starts its processes again: 1 of 2 processes died" in said.text
    (done,) = re.findall(r"goes on after epoch (\d+)", said.text)
    assert int(done) >= 1
    assert_no_finished_epoch_was_done_again(said.text)


SCRIPT = """
import sys
from pathlib import Path
from webcam_ml.training import _ray_train
from webcam_ml_tests.training.test_ray_train import make_task, make_world, tune
_ray_train.SECONDS_BETWEEN_LOOKS = 0.05
world = make_world(Path(sys.argv[1]))
tune(world, make_task(world), Path(sys.argv[2]), sys.argv[3])
"""


def test_a_run_after_one_that_was_killed_goes_on(
    world: World,
    task: FineTuneTask,
    local: FineTuned,
    cluster: RayCluster,
    tmp_path: Path,
    said: pytest.LogCaptureFixture,
) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, world.cache.parent, tmp_path, cluster.address],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    wait_until(lambda: run.poll() is not None or list(tmp_path.glob("finetuning/*/state.pt")))
    run.kill()
    assert run.wait() == -signal.SIGKILL
    RayEngine(cluster.address).cluster()
    wait_until(cores_are_free)
    assert_equal(tune(world, task, tmp_path, cluster.address), local)
    assert re.search(r"goes on after epoch [1-9]", said.text)
    assert 0 not in epochs_in(said.text)


def test_a_worker_that_dies_each_time_is_an_error(
    world: World, task: FineTuneTask, cluster: RayCluster, tmp_path: Path
) -> None:
    over = threading.Event()

    def strike() -> None:
        while not over.wait(0.2):
            for node in cluster.nodes:
                for worker in workers_of(node) if node.poll() is None else ():
                    worker.kill()

    killer = threading.Thread(target=strike)
    killer.start()
    try:
        with pytest.raises(
            WebcamMLError, match=r"failed 4 times in one epoch, .* next run goes on"
        ):
            tune(world, task, tmp_path, cluster.address)
    finally:
        over.set()
        killer.join()


def test_other_libraries_on_the_machines_are_refused(
    world: World,
    task: FineTuneTask,
    cluster: RayCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = {**ray_train._versions(), "torch": "1.0"}
    monkeypatch.setattr(ray_train, "_versions", lambda: versions)
    with pytest.raises(WebcamMLError, match=r"has torch .*, and this process torch 1.0"):
        tune(world, task, tmp_path, cluster.address)


def start_outside(
    world: World, cache: Path, address: str, **variables: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, world.cache.parent, cache, address],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_run_outside_of_the_cluster_trains_there_too(
    world: World,
    task: FineTuneTask,
    local: FineTuned,
    cluster: RayCluster,
    tmp_path: Path,
    said: pytest.LogCaptureFixture,
) -> None:
    """As from Kubernetes; Ray's server for clients wants one node an address."""
    with running_cluster(tmp_path / "cluster", nodes=1, cores=2) as there:
        run = start_outside(world, tmp_path, there.client_address)
        _, complaint = run.communicate(timeout=DEADLINE)
    assert run.returncode == 0, complaint
    assert_equal(tune(world, task, tmp_path, cluster.address), local)
    assert not epochs_in(said.text)  # it was there


@pytest.mark.slow
def test_a_head_that_dies_is_an_error_that_says_so(world: World, tmp_path: Path) -> None:
    with running_cluster(tmp_path / "cluster", nodes=1, cores=2) as there:
        # After so many seconds a client gives its head up.
        run = start_outside(
            world, tmp_path, there.client_address, RAY_CLIENT_RECONNECT_GRACE_PERIOD="2"
        )
        wait_until(lambda: run.poll() is not None or list(tmp_path.glob("finetuning/*/state.pt")))
        there.kill(there.nodes[0])
        # Ray would start a cluster here, or look for one, and come to no end.
        _, complaint = run.communicate(timeout=DEADLINE)
    assert list(tmp_path.glob("finetuning/*/state.pt"))
    # See the test of the engine: gRPC may crash in a thread of Ray's client.
    if run.returncode == -signal.SIGSEGV:
        return
    assert run.returncode == 1, complaint
    assert "was lost in the middle of fine-tuning" in complaint
    assert "the next run goes on after them" in complaint


def test_a_controller_that_dies_is_an_error_that_says_so(
    world: World, cluster: RayCluster, tmp_path: Path
) -> None:
    run = start_outside(world, tmp_path, cluster.address)
    wait_until(lambda: run.poll() is not None or list(tmp_path.glob("finetuning/*/state.pt")))
    (controller,) = workers_of(cluster.nodes[0], "ray::TrainController")
    controller.kill()
    _, complaint = run.communicate(timeout=DEADLINE)
    assert run.returncode == 1
    assert "WebcamMLError: Ray Train's controller died" in complaint
    RayEngine(cluster.address).cluster()
    wait_until(cores_are_free)


def test_gpus_that_others_use_are_named(
    cluster: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_train, "SECONDS_TO_GET_A_GPU", 1.0)
    engine = RayEngine(cluster.address)
    ray = engine.cluster()
    node = cluster.join(gpus=1)
    other = ray.remote(threading.Event).options(num_cpus=0, num_gpus=1).remote()
    ray.get(other.is_set.remote())
    alone = ON_CLUSTER.model_copy(update={"num_workers": 1, "accelerator": "gpu"})
    try:
        with pytest.raises(WebcamMLError, match="gave no GPU with a core within 1 seconds"):
            machine_of_cluster(alone, engine)
    finally:
        cluster.kill(node)
        wait_until(cores_are_free)


def test_only_what_dead_processes_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    script = (
        "import os, signal, sys, tempfile\n"
        "from webcam_ml.training._ray_train import own_folder\n"
        "tempfile.tempdir = sys.argv[1]\n"
        "with own_folder() as folder:\n"
        "    (folder / 'state.pt').touch()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with ray_train.own_folder() as alive:
        subprocess.run([sys.executable, "-c", script, tmp_path], check=False)
        (left,) = set(tmp_path.iterdir()) - {alive}
        assert (left / "state.pt").exists()
        with ray_train.own_folder() as here:
            assert set(tmp_path.iterdir()) == {alive, here}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_workers": 4}, "num_workers: 4 are asked for, and .* offers 3 cores"),
        ({"accelerator": "gpu"}, "num_workers: 2 are asked for, and .* offers 0 GPUs with a core"),
    ],
)
def test_what_the_cluster_has_not_is_refused(
    cluster: RayCluster, changes: dict[str, object], message: str
) -> None:
    engine = RayEngine(cluster.address)
    with pytest.raises(WebcamMLError, match=message):
        machine_of_cluster(ON_CLUSTER.model_copy(update=changes), engine)
