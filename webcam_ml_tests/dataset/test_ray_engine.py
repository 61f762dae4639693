"""The engine of several machines: a real Ray cluster of three nodes, some of which die."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
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
from webcam_ml.errors import WebcamMLError
from webcam_ml.features import extract_features, prepare_backbone
from webcam_ml.scoring import ImageError
from webcam_ml_tests.ray_cluster import ROOT, RayCluster, free_port, running_cluster
from webcam_ml_tests.world import SPEC, draw, share_backbones

# Ray leaves sockets and files to the end of the process.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")

PICTURES = 90
SHARD = 10


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), nodes=3) as running:
        yield running
    import_ray().shutdown()


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_engine, "SHARD_ROWS", SHARD)
    monkeypatch.setattr(ray_engine, "SECONDS_BETWEEN_LOOKS", 0.5)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    cache = tmp_path_factory.mktemp("pictures")
    images = ImageCache(cache)
    return cache, [images.store(draw(seed % 5 + 1, seed)) for seed in range(PICTURES)]


@dataclass(frozen=True)
class Slow(PictureWork[np.ndarray]):
    """Notes which process looked at how many pictures, and takes its time."""

    notes: Path
    seconds: float = 0.05

    def start(self) -> Callable[[ImageArray], np.ndarray]:
        def work(picture: ImageArray) -> np.ndarray:
            with self.notes.open("a") as notes:
                notes.write(f"{os.getpid()}\n")
            time.sleep(self.seconds)
            return picture.mean(axis=(0, 1)).astype(np.float32)

        return work

    def workers(self) -> list[int]:
        with contextlib.suppress(FileNotFoundError):
            return [int(line) for line in self.notes.read_text().splitlines()]
        return []


def compute(
    cache: Path, digests: list[str], work: PictureWork[np.ndarray], address: str | None
) -> tuple[int, ArrayCache[np.float32]]:
    engine = LocalEngine() if address is None else RayEngine(address)
    name = hashlib.sha256(repr(work).encode()).hexdigest()
    kept = ArrayCache(cache / "numbers" / f"{name}.sqlite", np.float32)
    images = ImageCache(cache, engine)
    return kept.compute_missing(digests, work, images=images, what="numbers"), kept


def test_features_have_equal_bytes(
    cluster: RayCluster, pictures: tuple[Path, list[str]], tmp_path: Path
) -> None:
    cache, digests = pictures
    share_backbones(tmp_path)
    graph = prepare_backbone(SPEC, cache=tmp_path)
    found = {
        name: extract_features(
            graph, digests, images=ImageCache(cache, engine), cache=tmp_path / name
        )
        for name, engine in (("local", LocalEngine()), ("ray", RayEngine(cluster.address)))
    }
    assert found["ray"].computed == PICTURES
    assert found["ray"].values.tobytes() == found["local"].values.tobytes()


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


SCRIPT = """
import sys
from pathlib import Path
from webcam_ml.dataset.images import _ray_engine
from webcam_ml_tests.dataset.test_ray_engine import SHARD, Slow, compute
_ray_engine.SHARD_ROWS = SHARD
cache, notes, address, *digests = sys.argv[1:]
compute(Path(cache), digests, Slow(Path(notes)), address)
"""


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


@pytest.mark.deployed
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


@dataclass(frozen=True)
class Fails(PictureWork[np.ndarray]):
    how: str

    def start(self) -> Callable[[ImageArray], np.ndarray]:
        def work(picture: ImageArray) -> np.ndarray:
            if self.how == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "lingers":
                time.sleep(60)
            raise WebcamMLError("this picture means nothing")

        return work


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
        ("import platform\nplatform.machine = lambda: 'riscv'", "CPUExecutionProvider, riscv"),
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


def drive(before: str, address: str, cache: Path, digest: str = "a") -> str:
    """What a process of its own says that uses a cluster, after it did something else."""
    script = (
        f"{before}\n"
        "import sys\nfrom pathlib import Path\n"
        "from webcam_ml_tests.dataset.test_ray_engine import Fails, compute\n"
        "compute(Path(sys.argv[2]), sys.argv[3:], Fails('lingers'), sys.argv[1])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, address, cache, digest],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode
    return run.stderr


@pytest.mark.deployed
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
