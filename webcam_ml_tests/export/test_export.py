import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from webcam_ml.dataset import TargetConfig
from webcam_ml.evaluation import evaluate_checkpoint
from webcam_ml.export import (
    ExportedModel,
    differences_from_torch,
    export_candidate,
    measure_parity,
    parity_pictures,
    score_pictures,
)
from webcam_ml.export._meta import OLDEST_RUNTIMES
from webcam_ml.features import licence_of
from webcam_ml.orchestration.presentation import of_model
from webcam_ml.scoring import OnnxModel
from webcam_ml.training import Checkpoint, predict
from webcam_ml_tests.world import World, make_labels, make_world

TARGETS = ("binary", "regression")


class Candidate:
    """A world, what was trained in it, and what was exported."""

    def __init__(self, folder: Path, target_type: str) -> None:
        labels = make_labels(folder=folder / "pictures")
        target = TargetConfig(target_type=target_type)
        self.world: World = make_world(folder, target=target, labels=labels)
        self.cache = self.world.cache
        self.checkpoint: Checkpoint = self.world.train().checkpoint
        self.exported = self.export()

    def export(self, cache: Path | None = None) -> ExportedModel:
        return self.world.export(self.checkpoint, cache)


@pytest.fixture(scope="module")
def candidates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Candidate]:
    folder = tmp_path_factory.mktemp("candidates")
    return {name: Candidate(folder / name, name) for name in TARGETS}


@pytest.fixture(params=TARGETS)
def candidate(request: pytest.FixtureRequest, candidates: dict[str, Candidate]) -> Candidate:
    return candidates[request.param]


def test_the_file_agrees_with_torch_on_pictures_of_all_sizes_and_batches(
    candidate: Candidate,
) -> None:
    pictures = parity_pictures()
    sizes = {batch.shape[1:3] for batch in pictures.values()}
    assert {(2160, 3840), (1, 1)} <= sizes
    assert any(height > width for height, width in sizes)
    assert any(len(batch) > 1 for batch in pictures.values())
    differences = differences_from_torch(
        candidate.exported.model, candidate.checkpoint.model, pictures
    )
    assert max(differences.values()) <= 1e-4
    assert candidate.exported.parity.passed
    assert candidate.exported.parity.model_sha256 == candidate.exported.sha256


def test_another_networks_file_does_not_pass_for_this_one(
    candidates: dict[str, Candidate],
) -> None:
    binary = candidates["binary"]
    head = binary.checkpoint.model.head
    other = replace(binary.checkpoint.model, head=replace(head, bias=head.bias + 0.01))
    parity = measure_parity(binary.exported.model, other, parity_pictures())
    assert not parity.passed
    assert parity.at_most > 1e-4


def test_the_stored_bound_never_claims_less_than_was_measured(candidate: Candidate) -> None:
    pictures = {"grey": np.full((1, 40, 40, 3), 100, np.uint8)}
    model = candidate.checkpoint.model
    measured = max(differences_from_torch(candidate.exported.model, model, pictures).values())
    assert measured <= measure_parity(candidate.exported.model, model, pictures).at_most


def test_equal_checkpoints_give_equal_bytes(candidate: Candidate) -> None:
    again = candidate.export()
    assert again.model == candidate.exported.model
    assert again.meta == candidate.exported.meta
    assert again.parity == candidate.exported.parity


def test_a_backbone_exported_again_from_best_pt_gives_equal_bytes(
    candidates: dict[str, Candidate], tmp_path: Path
) -> None:
    binary = candidates["binary"]
    assert binary.export(tmp_path).model == binary.exported.model


def test_one_self_contained_file_of_the_asserted_opset(candidate: Candidate) -> None:
    model = onnx.load_from_string(candidate.exported.model)
    onnx.checker.check_model(candidate.exported.model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert not model.functions
    for text in (b"site-packages", b"webcam_ml/", b"/home", b"/tmp", b"stack_trace"):
        assert text not in candidate.exported.model
    names = {node.op_type for node in model.graph.node}
    assert "Resize" in names
    unused = {t for node in model.graph.node for t in node.output} - {
        t for node in model.graph.node for t in node.input
    }
    assert unused == {"ai_rating"}  # raw_score feeds ai_rating; nothing else is left over


def test_metadata_inside_and_beside_name_the_same_version(candidate: Candidate) -> None:
    exported, meta = candidate.exported, candidate.exported.meta
    session = onnxruntime.InferenceSession(exported.model)
    inside = session.get_modelmeta().custom_metadata_map
    assert inside["model_version"] == meta.model_version
    assert inside["target_type"] == meta.target_type
    digest = hashlib.sha256(candidate.checkpoint.weights).hexdigest()
    assert inside["checkpoint_sha256"] == meta.digests.checkpoint == digest
    target_type, model_name, version = meta.model_version.rsplit("-", 2)
    assert (target_type, model_name) == (meta.target_type, "mobilenet_v3_small")
    assert len(version) == 12
    assert meta.sha256 == hashlib.sha256(exported.model).hexdigest()
    assert meta.size == len(exported.model)
    assert meta.decision_threshold == candidate.checkpoint.model.decision_threshold
    for tensor, described in zip(session.get_inputs(), meta.inputs, strict=True):
        assert (tensor.name, tensor.shape) == (described.name, list(described.shape))
    for tensor, described in zip(session.get_outputs(), meta.outputs, strict=True):
        assert (tensor.name, tensor.shape) == (described.name, list(described.shape))


def test_the_licence_of_published_weights_is_kept_and_shown_and_of_others_nobody_knows_it(
    candidates: dict[str, Candidate], tmp_path: Path
) -> None:
    seeded = candidates["binary"]
    assert seeded.exported.meta.weights_licence is None
    assert "not known" in str(of_model(seeded.exported)["licence of the weights"])
    summary = {**seeded.checkpoint.summary, "weights": "imagenet"}
    published = seeded.world.export(replace(seeded.checkpoint, summary=summary))
    published.save(tmp_path)
    assert (
        json.loads((tmp_path / "model.meta.json").read_text())["weights_licence"] == "BSD-3-Clause"
    )
    assert of_model(published)["licence of the weights"] == "BSD-3-Clause"
    assert licence_of("timm/convnextv2_atto.fcmae_ft_in1k", "imagenet") == "cc-by-nc-4.0"


def test_metrics_with_intervals_travel_with_the_model(candidate: Candidate) -> None:
    primary = "roc_auc" if candidate.exported.meta.target_type == "binary" else "mae"
    assert set(candidate.exported.meta.metrics[primary]) >= {"value", "low", "high"}


def test_files_are_read_back_and_the_runtime_accepts_them(
    candidate: Candidate, tmp_path: Path
) -> None:
    candidate.exported.save(tmp_path)
    again = ExportedModel.load(tmp_path)
    assert again == candidate.exported
    assert again.meta.label_query == candidate.world.labels.query.to_dict()
    model = OnnxModel.load(tmp_path / "model.onnx")
    assert model.model_version == again.meta.model_version
    assert json.loads((tmp_path / "model.meta.json").read_text())["schema_version"] == 1


READ_BY_THE_OLDEST = """
import json, sys
import numpy as np, onnxruntime
image = np.load(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
scores = session.run(["raw_score"], {"image": image})[0]
print(json.dumps([onnxruntime.__version__, scores.tolist()]))
"""


@pytest.fixture(scope="module")
def oldest_onnxruntime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the oldest onnxruntime that model.meta.json names, beside today's numpy."""
    folder = tmp_path_factory.mktemp("oldest")
    wanted = f"onnxruntime=={OLDEST_RUNTIMES['onnxruntime']}.0"
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "--no-deps", "--only-binary", ":all:", "--target", folder, wanted,
        ],
        check=True,
    )  # fmt: skip
    return folder


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="there is no onnxruntime 1.19 for it")
def test_the_oldest_runtime_that_the_metadata_names_reads_the_file(
    candidate: Candidate, oldest_onnxruntime: Path, tmp_path: Path
) -> None:
    candidate.exported.save(tmp_path)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 90, 160, 3), dtype=np.uint8)
    np.save(tmp_path / "pictures.npy", pictures)
    ran = subprocess.run(
        [
            sys.executable, "-c", READ_BY_THE_OLDEST,
            tmp_path / "model.onnx", tmp_path / "pictures.npy",
        ],
        env=os.environ | {"PYTHONPATH": str(oldest_onnxruntime)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    version, scores = json.loads(ran.stdout)
    assert candidate.exported.meta.oldest_runtimes == OLDEST_RUNTIMES
    assert version.startswith(f"{OLDEST_RUNTIMES['onnxruntime']}.")
    expected = OnnxModel.load(tmp_path / "model.onnx").score_array(pictures)
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_scores_through_the_runtime_are_those_of_the_features(
    candidate: Candidate, tmp_path: Path
) -> None:
    rows = candidate.world.rows("test").frame
    digests = rows["sha256"].to_list()
    images = candidate.world.images
    ours = score_pictures(candidate.exported, digests, images=images, cache=tmp_path)
    features = predict(candidate.checkpoint, rows, images=images, cache=candidate.cache)
    np.testing.assert_allclose(ours, features.raw_score, atol=2e-6)
    kept = score_pictures(candidate.exported, digests[::-1], images=images, cache=tmp_path)
    np.testing.assert_array_equal(kept, ours[::-1])


def test_regression_scores_are_clamped_to_the_scale(candidates: dict[str, Candidate]) -> None:
    session = onnxruntime.InferenceSession(candidates["regression"].exported.model)
    extremes = np.stack([np.zeros((32, 32, 3)), np.full((32, 32, 3), 255)]).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    raw, rating = session.run(
        ["raw_score", "ai_rating"], {"image": np.concatenate([extremes, noise])}
    )
    assert ((raw >= 0) & (raw <= 1)).all()
    assert ((rating >= 1) & (rating <= 5)).all()


def test_a_report_of_another_checkpoint_is_refused(candidates: dict[str, Candidate]) -> None:
    binary, regression = candidates["binary"], candidates["regression"]
    world = regression.world
    report = evaluate_checkpoint(
        regression.checkpoint, world.manifest.split("val"), world.manifest.split("test"),
        world.index, images=world.images, cache=regression.cache, bootstrap_samples=200,
    ).report  # fmt: skip
    with pytest.raises(ValueError, match="the report is of checkpoint"):
        export_candidate(
            binary.checkpoint, report, binary.world.index,
            labels=binary.world.manifest.meta, images=binary.world.images, cache=binary.cache,
        )  # fmt: skip


def test_the_package_is_importable_without_torch() -> None:
    script = "import sys, webcam_ml.export; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
