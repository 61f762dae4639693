"""A disk without room, in each writing step: a sentence that says what to do, and nothing half written.

Everywhere: a limit on the size of files (RLIMIT_FSIZE), by which the kernel ends a write in its middle
as a full disk does; it needs no rights. In the long suite: a small tmpfs in a mount namespace.
"""

import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from webcam_ml.dataset import Manifest
from webcam_ml.dataset.duplicates import ComparedImages
from webcam_ml.dataset.images import ArrayCache, ImageCache
from webcam_ml.disagreement import DisagreementReport
from webcam_ml.errors import WebcamMLError
from webcam_ml.evaluation import EvalReport
from webcam_ml.export import ExportedModel
from webcam_ml.features import BackboneSpec, prepare_backbone
from webcam_ml.judging import Comparison
from webcam_ml.labels import Labels
from webcam_ml.live import LiveModel
from webcam_ml.monitoring import ServedAudit
from webcam_ml.rating_queue import RatingQueue
from webcam_ml.store import Artifact, ArtifactStore, Provenance, StoredArtifact
from webcam_ml.training import Checkpoint
from webcam_ml_tests.faults.conftest import Undisturbed
from webcam_ml_tests.faults.labelled import everything, fill
from webcam_ml_tests.faults.stored import require_equal, require_whole
from webcam_ml_tests.integration.project import Project
from webcam_ml_tests.label_schema import Rows

TYPES: dict[str, type[Artifact]] = {
    "labels_raw": Labels,
    "manifest_full": Manifest,
    "manifest_train": Manifest,
    "manifest_val": Manifest,
    "manifest_test": Manifest,
    "image_index": ComparedImages,
    "checkpoint": Checkpoint,
    "eval_report": EvalReport,
    "onnx_model": ExportedModel,
    "disagreement_report": DisagreementReport,
    "rating_queue": RatingQueue,
    "champion_comparison": Comparison,
    "production_model": LiveModel,
    "served_scores_audit": ServedAudit,
}


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_every_asset_of_the_graph_is_tried(undisturbed: Undisturbed) -> None:
    stored = {path.parent.name for path in undisturbed.project.artifacts.glob("*/latest.json")}
    assert set(TYPES) == stored


@pytest.mark.parametrize("asset", TYPES)
def test_a_disk_that_fills_up_while_an_asset_is_stored_leaves_what_was_there(
    undisturbed: Undisturbed, tmp_path: Path, asset: str
) -> None:
    made = ArtifactStore(undisturbed.project.artifacts)
    latest = made.latest(asset)
    value = latest.load(TYPES[asset])
    inputs: dict[str, StoredArtifact] = {
        name: made.find(name, version) for name, version in latest.lineage.inputs.items()
    }
    store = ArtifactStore(tmp_path / "artifacts")
    sizes = {record.size for record in latest.lineage.files.values()}
    # The largest file breaks off in its middle; at 0 it is the first byte of all.
    for limit in (max(sizes) // 2, 0):
        with (
            no_file_larger_than(limit),
            pytest.raises(WebcamMLError, match=rf"could not store {asset}.*WEBCAM_ML_ARTIFACTS"),
        ):
            store.write(asset, value, inputs=inputs, provenance=Provenance("run"))
        assert require_whole(store.root) == 0
    stored, is_new = store.write(asset, value, inputs=inputs, provenance=Provenance("run"))
    assert is_new
    assert stored.data_version == latest.data_version
    assert require_whole(store.root) == 1


def test_a_cache_of_numbers_without_room_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    cache = ArrayCache(tmp_path / "features" / "a.sqlite", np.float32)
    row = np.arange(20_000, dtype=np.float32)

    def compute(digests: list[str]) -> int:
        new = [digest for digest in digests if digest not in cache.read(digests)]
        cache.keep(dict.fromkeys(new, row))
        return len(new)

    assert compute(["a"]) == 1
    with (
        no_file_larger_than(cache.path.stat().st_size + 100_000),
        pytest.raises(WebcamMLError, match="WEBCAM_ML_CACHE"),
    ):
        compute([f"{number}" for number in range(50)])
    assert compute(["a"]) == 0
    assert compute(["b"]) == 1


def test_a_cache_of_pictures_without_room_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path)
    first = cache.store(b"one picture")
    with no_file_larger_than(100), pytest.raises(WebcamMLError, match="cannot be written"):
        cache.store(b"x" * 1000)
    assert cache.read(first) == b"one picture"
    assert cache.read(cache.store(b"x" * 1000)) == b"x" * 1000


def test_a_cache_of_backbones_without_room_says_so_and_leaves_no_half(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    shared = undisturbed.project.folder / "cache" / "backbones"
    graph = next(shared.glob("*/*.onnx")).read_bytes()
    spec = BackboneSpec(model_name="mobilenet_v3_small", weights="none", image_size=64)
    with (
        no_file_larger_than(len(graph) // 2),
        pytest.raises(WebcamMLError, match="WEBCAM_ML_CACHE"),
    ):
        prepare_backbone(spec, cache=tmp_path)
    assert list((tmp_path / "backbones").iterdir()) == []
    assert prepare_backbone(spec, cache=tmp_path).model == graph


ON_TMPFS = """
import subprocess, sys
size, (folder, *command) = 300, sys.argv[1:]
mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", folder]
subprocess.run(mount, check=True)
refused = []
while True:
    ran = subprocess.run(command, capture_output=True, text=True)
    said = ran.stdout + ran.stderr
    subprocess.run([sys.executable, "-m", "webcam_ml_tests.faults.stored", folder], check=True)
    if ran.returncode == 0:
        break
    assert "No space left on device" in said, said[-5000:]
    assert "WEBCAM_ML_ARTIFACTS" in said, said[-5000:]
    refused.append(size)
    size = int(size * 1.5)
    subprocess.run(["mount", "-o", f"remount,size={size}k", folder], check=True)
subprocess.run(["cp", "-a", folder + "/.", folder + "-kept"], check=True)
print(len(refused))
"""


@pytest.mark.slow
def test_full_runs_on_a_small_disk_fail_plainly_until_there_is_room(
    undisturbed: Undisturbed, rows: Rows, tmp_path: Path
) -> None:
    """One run after the other on a tmpfs that grows: each ends in another writing step."""
    # In the namespace the server's socket belongs to a stranger, and a file does not.
    url = fill(f"sqlite:///{tmp_path / 'labels.sqlite'}", rows)
    project = Project(tmp_path / "project", url)
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    project.artifacts.mkdir()
    command = everything(project)
    ran = subprocess.run(
        [*namespace, sys.executable, "-c", ON_TMPFS, str(project.artifacts), *command],
        cwd=project.home, env=project.env(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert int(ran.stdout.split()[-1]) >= 3
    project.artifacts.rmdir()
    shutil.move(f"{project.artifacts}-kept", project.artifacts)
    require_equal(project, undisturbed.project)
