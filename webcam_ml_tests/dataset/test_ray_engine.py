"""The engine of several machines: a real Ray cluster of three nodes, some of which die."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import psutil
import pytest

from webcam_ml.dataset.images import (
    ArrayCache,
    ImageArray,
    ImageCache,
    LocalEngine,
    PictureWork,
    RayEngine,
    open_engine,
)
from webcam_ml.dataset.images import _ray_engine as ray_engine
from webcam_ml.dataset.images._ray_engine import import_ray
from webcam_ml.dataset.images._ray_worker import installed
from webcam_ml.errors import WebcamMLError
from webcam_ml.features import BackboneGraph, extract_features, prepare_backbone
from webcam_ml.features._features import _ForwardPass
from webcam_ml.scoring import ImageError
from webcam_ml.store import FolderBucket
from webcam_ml_tests.dataset.ray_pictures import (
    FAILURES,
    PICTURES,
    SCRIPT,
    SHARD,
    Fails,
    Slow,
    compute,
    drive,
    store_pictures,
)
from webcam_ml_tests.ray_cluster import ROOT, RayCluster, free_port, running_cluster
from webcam_ml_tests.world import SPEC, share_backbones

# Ray leaves sockets and files to the end of the process.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")

# Run by a Python at its start: it says that its machine is of another kind.
OTHERWISE = "import platform\nplatform.machine = lambda: 'AMD64'"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), nodes=3) as running:
        yield running


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "SHARD_ROWS", SHARD)
    monkeypatch.setattr(ray_engine, "SECONDS_BETWEEN_LOOKS", 0.5)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    return store_pictures(tmp_path_factory.mktemp("pictures"))


def test_features_have_equal_bytes(
    cluster: RayCluster, pictures: tuple[Path, list[str]], tmp_path: Path
) -> None:
    cache, digests = pictures
    share_backbones(tmp_path)
    graph = prepare_backbone(SPEC, cache=tmp_path)
    bucket = FolderBucket(tmp_path / "bucket")
    ray, other = (
        extract_features(
            graph, digests, images=ImageCache(cache, engine, remote=bucket), cache=tmp_path / name
        )
        for name, engine in (("ray", RayEngine(cluster.address)), ("other", LocalEngine()))
    )
    alone = extract_features(graph, digests, images=ImageCache(cache), cache=tmp_path / "alone")
    assert ray.computed == alone.computed == PICTURES
    assert ray.values.tobytes() == alone.values.tobytes()
    # What a cluster computed, another machine takes from the bucket of the store.
    assert other.computed == 0
    assert other.values.tobytes() == alone.values.tobytes()


@dataclass(frozen=True)
class Alone(PictureWork[np.ndarray]):
    """Another work, in a process that reaches no host and not the run's folder."""

    work: PictureWork[np.ndarray]
    folder: Path

    def start(self) -> Callable[[ImageArray], np.ndarray]:
        def refuse(event: str, arguments: tuple[Any, ...]) -> None:
            if event in ("socket.connect", "socket.getaddrinfo"):
                raise PermissionError(event)
            if event == "open" and str(arguments[0]).startswith(str(self.folder)):
                raise PermissionError(arguments[0])

        sys.addaudithook(refuse)
        return self.work.start()


def test_a_worker_needs_neither_the_host_of_the_pictures_nor_the_folders_of_the_run(
    cluster: RayCluster, pictures: tuple[Path, list[str]], tmp_path: Path
) -> None:
    cache, digests = pictures
    share_backbones(tmp_path)
    graph = prepare_backbone(SPEC, cache=tmp_path)
    work = _ForwardPass(graph.model, "CPUExecutionProvider")
    here = dict(ImageCache(cache).each(work, digests))
    there = ImageCache(cache, RayEngine(cluster.address)).each(Alone(work, cache), digests)
    assert {digest: row.tobytes() for digest, row in there} == {
        digest: row.tobytes() for digest, row in here.items()
    }
    # The same process is refused what it does not need.
    with pytest.raises(PermissionError):
        compute(cache, digests[:1], Alone(Reads(cache / "numbers"), cache), cluster.address)


@dataclass(frozen=True)
class Reads(PictureWork[np.ndarray]):
    path: Path

    def start(self) -> Callable[[ImageArray], np.ndarray]:
        self.path.read_bytes()
        raise AssertionError


@pytest.mark.parametrize("victim", ["a worker", "a node"])
def test_what_dies_in_the_middle_costs_one_shard(
    cluster: RayCluster, pictures: tuple[Path, list[str]], tmp_path: Path, victim: str
) -> None:
    cache, digests = pictures
    work = Slow(tmp_path / "notes")

    def strike() -> None:
        while len(work.workers()) < PICTURES // 3:
            time.sleep(0.02)
        if victim == "a worker":
            psutil.Process(work.workers()[-1]).kill()
        else:
            cluster.kill(cluster.nodes[-1])

    killer = threading.Thread(target=strike)
    killer.start()
    engine = RayEngine(cluster.address)
    found = dict(ImageCache(cache, engine).each(work, digests))
    killer.join()
    if victim == "a node":
        cluster.join()
    expected = dict(ImageCache(cache).each(Slow(tmp_path / "local", 0.0), digests))
    assert found.keys() == expected.keys()
    assert all((found[digest] == expected[digest]).all() for digest in digests)
    assert PICTURES < len(work.workers()) <= PICTURES + SHARD


@pytest.mark.deployed
def test_a_run_after_one_that_was_killed_goes_on(
    cluster: RayCluster, pictures: tuple[Path, list[str]], tmp_path: Path
) -> None:
    cache, digests = pictures
    work = Slow(tmp_path / "notes")
    driver = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, cache, work.notes, cluster.address, *digests],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    path = compute(cache, [], work, None)[1].path
    while len(ArrayCache(path, np.float32).read(digests)) < PICTURES // 3:
        assert driver.poll() is None
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    had = len(ArrayCache(path, np.float32).read(digests))
    computed, kept = compute(cache, digests, work, cluster.address)
    assert computed == PICTURES - had < PICTURES
    expected = dict(ImageCache(cache).each(Slow(tmp_path / "local", 0.0), digests))
    assert all((kept.read(digests)[digest] == expected[digest]).all() for digest in digests)


def test_what_a_work_says_arrives_and_so_does_what_a_file_is(
    cluster: RayCluster, pictures: tuple[Path, list[str]], tmp_path: Path
) -> None:
    cache, digests = pictures
    with pytest.raises(WebcamMLError, match=r"^this picture means nothing$"):
        compute(cache, digests, Fails("speaks"), cluster.address)
    images = ImageCache(tmp_path, RayEngine(cluster.address))
    with pytest.raises(ImageError) as caught:
        list(images.each(Slow(tmp_path / "notes"), [images.store(b"no picture at all")]))
    assert caught.value.reason == "not_an_image"


@pytest.mark.deployed
def test_a_run_that_fails_says_why_and_neither_crashes_nor_hangs(
    cluster: RayCluster, pictures: tuple[Path, list[str]]
) -> None:
    """To cancel what was underway crashed one of 30 in Ray, and threads left over hung one of 200."""
    cache, digests = pictures
    run = subprocess.run(
        [sys.executable, "-c", FAILURES, cache, cluster.address, "100", *digests],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["this picture means nothing"] * 100
    # Nor is said of each picture underway, with a stack, what is said once.
    assert "Unhandled error" not in run.stderr


def test_no_thread_outlives_an_error_of_a_work(
    cluster: RayCluster, pictures: tuple[Path, list[str]], tmp_path: Path
) -> None:
    cache, digests = pictures
    # Ray has threads of its own.
    compute(cache, digests, Slow(tmp_path / "notes", 0.0), cluster.address)
    before = set(threading.enumerate())
    with pytest.raises(WebcamMLError) as caught:
        compute(cache, digests, Fails("speaks"), cluster.address)
    assert caught.traceback  # and all that it holds
    assert {thread.name for thread in set(threading.enumerate()) - before} == set()


@pytest.mark.deployed
def test_a_picture_over_which_each_worker_dies_is_an_error(
    cluster: RayCluster, pictures: tuple[Path, list[str]]
) -> None:
    cache, digests = pictures
    with pytest.raises(WebcamMLError, match="died 4 times over the same pictures"):
        compute(cache, digests[:1], Fails("dies"), cluster.address)


def test_a_cluster_that_is_not_there_is_named_within_seconds(
    pictures: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, digests = pictures
    monkeypatch.setattr(import_ray(), "is_initialized", lambda: False)
    for address in (f"127.0.0.1:{free_port()}", f"ray://127.0.0.1:{free_port()}"):
        with pytest.raises(WebcamMLError, match=f"no Ray cluster at {address}.*RAY_ADDRESS"):
            compute(cache, digests, Fails("speaks"), address)
    with pytest.raises(WebcamMLError, match="no address of a Ray cluster"):
        compute(cache, digests, Fails("speaks"), "cluster")


def test_another_version_of_ray_is_refused(cluster: RayCluster, tmp_path: Path) -> None:
    said = drive("import ray; ray.__version__ = '2.0.0'", cluster.address, tmp_path)
    assert "another version of Ray or Python" in said
    assert "2.0.0" in said


def test_another_version_of_what_computes_is_refused(cluster: RayCluster, tmp_path: Path) -> None:
    said = drive(
        "from webcam_ml.dataset.images import _ray_engine as e;"
        "e.installed = lambda: {'numpy': '1.0', 'onnxruntime': '1.0'}",
        cluster.address,
        tmp_path,
    )
    assert "and this process numpy 1.0, onnxruntime 1.0" in said


@pytest.mark.deployed
@pytest.mark.parametrize(
    ("at_start", "expected"),
    [
        (OTHERWISE, "CPUExecutionProvider, AMD64"),
        ("import sys\nsys.modules['webcam_ml'] = None", "cannot run webcam_ml"),
    ],
)
def test_a_machine_that_computes_otherwise_or_not_at_all_is_refused(
    cluster: RayCluster, tmp_path: Path, at_start: str, expected: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(at_start)
    other = cluster.join({"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"})
    try:
        said = drive("pass", cluster.address, tmp_path)
    finally:
        cluster.kill(other)
    assert expected in said


@pytest.mark.deployed
def test_a_machine_of_another_kind_that_joins_later_is_refused(
    cluster: RayCluster, pictures: tuple[Path, list[str]], tmp_path: Path
) -> None:
    cache, digests = pictures
    (tmp_path / "sitecustomize.py").write_text(OTHERWISE)
    images = ImageCache(cache, RayEngine(cluster.address))
    found = images.each(Slow(tmp_path / "notes", 0.3), digests)
    next(iter(found))
    other = cluster.join({"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"})
    try:
        with pytest.raises(WebcamMLError, match=r"of another kind .*AMD64.* than those"):
            list(found)
    finally:
        cluster.kill(other)


def test_a_part_of_a_gpu_where_there_is_none_is_refused(
    cluster: RayCluster, pictures: tuple[Path, list[str]]
) -> None:
    cache, digests = pictures
    images = ImageCache(cache, RayEngine(cluster.address, num_gpus=0.5))
    with pytest.raises(WebcamMLError, match=r"no machine that offers a core and 0\.5 of a GPU"):
        list(images.each(Fails("speaks"), digests))


@pytest.mark.deployed
def test_a_machine_that_only_says_that_it_has_a_gpu_is_refused(
    cluster: RayCluster, pictures: tuple[Path, list[str]]
) -> None:
    cache, digests = pictures
    other = cluster.join(gpus=1)
    try:
        images = ImageCache(cache, RayEngine(cluster.address, num_gpus=0.5))
        with pytest.raises(WebcamMLError, match=r"cannot run webcam_ml \(.*(CUDA|NVIDIA)"):
            list(images.each(Fails("speaks"), digests))
    finally:
        cluster.kill(other)


def test_onnxruntime_may_be_the_package_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed in the place of the other one, it has the same modules and another name."""
    version = metadata.version

    def without(name: str) -> str:
        if name == "onnxruntime":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    expected = installed()
    monkeypatch.setattr(metadata, "version", without)
    assert installed.__wrapped__() == expected
    assert expected["onnxruntime"] == onnxruntime.__version__
    assert BackboneGraph("key", b"model", b"").fingerprint


def test_an_engine_that_is_unknown_or_not_installed_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(WebcamMLError, match="engine 'dask' is unknown: choose local or ray"):
        open_engine("dask")
    with pytest.raises(WebcamMLError, match="for engine: ray"):
        open_engine("local", address="auto")
    monkeypatch.setenv("WEBCAM_ML_ENGINE", "ray")
    assert isinstance(open_engine(), RayEngine)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WebcamMLError, match=r"pip install 'webcam-ml\[ray\]'"):
        open_engine()


def test_another_kind_of_machine_has_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "numbers.sqlite"
    digest = hashlib.sha256(b"a").hexdigest()
    ArrayCache(path, np.float32).keep({digest: np.ones(3, np.float32)})
    # What was kept before kinds were told apart belongs to the first that comes.
    here, other = (ArrayCache(path, np.float32, machine=kind) for kind in ("x86", "arm"))
    assert here.read([digest]).keys() == {digest}
    assert not other.read([digest])
    other.keep({digest: np.zeros(3, np.float32)})
    for kind, value in (("x86", 1.0), ("arm", 0.0)):
        found = ArrayCache(path, np.float32, machine=kind).rows([digest])
        np.testing.assert_array_equal(found, np.full((1, 3), value))
