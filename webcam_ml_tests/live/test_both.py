"""The file with both heads: what it says, whose heads it has, and when it is made."""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from webcam_ml.dataset import SplitConfig, TargetConfig, build_manifest
from webcam_ml.export import ModelFiles, NoCommonBackboneError, join_heads
from webcam_ml.live import (
    PromotionRefused,
    both_heads,
    promote,
    promote_override,
    prune,
    rollback,
    verify,
)
from webcam_ml.live._copy import pull
from webcam_ml.live._production import changing_production
from webcam_ml.scoring import Scorer
from webcam_ml.store import ArtifactStore, FolderBucket
from webcam_ml_tests.live.fixtures import Live, bytes_below, flip
from webcam_ml_tests.live.models import Made, make
from webcam_ml_tests.live.test_promotion import CRASH, names, script
from webcam_ml_tests.world import draw, made_once

STARS = TargetConfig(target_type="regression")
PICTURES = [draw(stars, seed) for seed, stars in enumerate((1.0, 3.0, 5.0))]


def make_stars(binary: Made) -> dict[str, Made]:
    """A candidate for stars, and two that differ from it in one number: of the head, of the backbone."""
    world = binary.world
    asked = build_manifest(
        world.labels, target=STARS, split=SplitConfig(train_pct=60, val_pct=20, test_pct=20)
    )
    stars = make(replace(world, manifest=asked))
    backbone = next(
        tensor.name
        for tensor in onnx.load_from_string(stars.exported.model).graph.initializer
        if len(tensor.dims) == 4
    )
    return {
        "stars": stars,
        "other head": changed(stars, "head.bias"),
        "other features": changed(stars, backbone),
    }


def changed(made: Made, name: str) -> Made:
    """The same model under another name, with another first number in a tensor."""
    proto = onnx.load_from_string(made.exported.model)
    (tensor,) = (one for one in proto.graph.initializer if one.name == name)
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[0] += 0.25
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
    version = f"{made.version[:-12]}{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    stamps = {one.key: one.value for one in proto.metadata_props} | {"model_version": version}
    onnx.helper.set_model_props(proto, stamps)
    data = proto.SerializeToString(deterministic=True)
    sha256 = hashlib.sha256(data).hexdigest()
    meta = made.exported.meta.model_copy(
        update={"model_version": version, "sha256": sha256, "size": len(data)}
    )
    return replace(made, exported=replace(made.exported, model=data, meta=meta))


@pytest.fixture(scope="module")
def stars(made: dict[str, Made]) -> dict[str, Made]:
    return made_once("star-candidates", lambda _: make_stars(made["better"]))


@pytest.fixture(scope="module")
def prepared_both(prepared: Live, stars: dict[str, Made]) -> Live:
    """A store where `first` and `stars` are live."""

    def prepare(folder: Path) -> Live:
        live = prepared.moved(folder / "artifacts")
        override(live, stars["stars"])
        return live

    return made_once("both-live", prepare)


@pytest.fixture
def both(prepared_both: Live, tmp_path: Path) -> Live:
    return prepared_both.moved(tmp_path / "artifacts")


def override(live: Live, made: Made) -> None:
    """Make a model live whatever the gates say of it: what follows from that is tested here."""
    live.works.add(made)
    promote_override(live.store, made.version, reason="a test")


def batch(side: int = 64) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (4, side, side + 7, 3), np.uint8)


def heads(store: ArtifactStore) -> list[str]:
    meta = json.loads((store.root / "production" / "both" / "model.meta.json").read_bytes())
    return [head["model_version"] for head in meta["heads"]]


def files(made: Made) -> ModelFiles:
    return ModelFiles(made.exported.model, made.exported.meta)


def operators(model: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(model).graph.node)


# --- the file ---------------------------------------------------------------------------------------


def test_a_file_with_both_heads_runs_its_backbone_once(
    made: dict[str, Made], stars: dict[str, Made]
) -> None:
    one, other = files(made["first"]), files(stars["stars"])
    joined = join_heads([one, other])
    alone = operators(one.model)
    assert operators(joined.model)["Conv"] == alone["Conv"] > 10
    assert operators(joined.model) - alone == Counter(
        {"Gemm": 1, "Squeeze": 1, "Clip": 1, "Mul": 1, "Add": 1, "Identity": 2}
    )
    assert len(joined.model) < len(one.model) + 8_000
    assert join_heads([one, other]) == joined


@pytest.mark.parametrize("primary", ["binary", "regression"])
def test_every_output_is_that_of_the_heads_own_file_to_the_bit(
    made: dict[str, Made], stars: dict[str, Made], primary: str
) -> None:
    alone = {"binary": files(made["first"]), "regression": files(stars["stars"])}
    order = sorted(alone, key=lambda name: name != primary)
    joined = join_heads([alone[name] for name in order])
    session = onnxruntime.InferenceSession(joined.model, providers=["CPUExecutionProvider"])
    for side in (64, 31, 200):
        feed = {"image": batch(side)}
        names = [output.name for output in session.get_outputs()]
        said = dict(zip(names, session.run(names, feed), strict=True))
        assert names[:2] == ["raw_score", "ai_rating"]
        assert len(names) == 6
        for target_type, file in alone.items():
            single = onnxruntime.InferenceSession(file.model, providers=["CPUExecutionProvider"])
            expected = single.run(["raw_score", "ai_rating"], feed)
            for name, scores in zip(("raw_score", "ai_rating"), expected, strict=True):
                np.testing.assert_array_equal(said[f"{target_type}_{name}"], scores)
                if target_type == primary:
                    np.testing.assert_array_equal(said[name], scores)


def test_other_features_are_no_ground_for_two_heads(
    made: dict[str, Made], stars: dict[str, Made]
) -> None:
    with pytest.raises(NoCommonBackboneError, match=r"feature_stages.* both_targets"):
        join_heads([files(made["first"]), files(stars["other features"])])


# --- what is live -----------------------------------------------------------------------------------


def test_the_second_live_head_makes_the_file_and_old_readers_see_what_they_saw(
    prepared: Live, both: Live, made: dict[str, Made], stars: dict[str, Made]
) -> None:
    assert both_heads(prepared.store) is None
    assert not (prepared.production / "both").exists()
    live, link = both, both.production / "both"
    versions = [made["first"].version, stars["stars"].version]
    assert heads(live.store) == versions
    assert str(link.readlink()) == "versions/" + "+".join(versions)
    assert f"model.onnx has the heads of both, {' and '.join(versions)}." in str(
        both_heads(live.store)
    )
    assert verify(live.store) == []

    variables = dict(line.split("=", 1) for line in (link / "scorer.env").read_text().splitlines())
    assert variables["AI_ONNX_MODEL_PATH"] == str(link / "model.onnx")
    alone = [
        Scorer.of_model(live.production / name / "model.onnx") for name in ("binary", "regression")
    ]
    scorer = Scorer.from_env(variables)
    for picture, (result,) in ((one, scorer.score_many([one])) for one in PICTURES):
        binary, regression = (one.score(picture) for one in alone)
        assert result.score == scorer.score(picture) == binary
        assert result.heads == {"binary": binary, "regression": regression}
    assert [head.decision_threshold for head in scorer.model.heads] == [
        made["first"].exported.meta.decision_threshold, None,
    ]  # fmt: skip


def test_a_refused_head_leaves_the_file_as_it_was(both: Live) -> None:
    before = bytes_below(both.production / "both")
    with pytest.raises(PromotionRefused):
        both.promote("shuffled")
    assert bytes_below(both.production / "both") == before
    assert verify(both.store) == []


def test_a_promotion_and_a_rollback_of_one_head_are_followed(
    both: Live, made: dict[str, Made], stars: dict[str, Made]
) -> None:
    before, second = bytes_below(both.production / "both"), stars["stars"].version
    both.promote("better")
    assert heads(both.store) == [made["better"].version, second]
    (left,) = [one for one in prune(both.store) if one.asset == "production"]
    assert left.folder.name == f"{made['first'].version}+{second}"
    assert verify(both.store) == []
    rollback(both.store, target_type="binary")
    assert bytes_below(both.production / "both") == before
    assert verify(both.store) == []


def test_a_head_that_was_rolled_back_is_in_no_file(
    live: Live, made: dict[str, Made], stars: dict[str, Made]
) -> None:
    override(live, stars["other features"])
    assert not (live.production / "both").is_symlink()
    assert "compute other features" in str(both_heads(live.store))
    override(live, stars["stars"])
    assert heads(live.store) == [made["first"].version, stars["stars"].version]
    rollback(live.store, to=stars["other features"].version)
    assert not (live.production / "both").is_symlink()
    assert "There is no" in str(both_heads(live.store))
    assert verify(live.store) == []


def test_the_old_pair_stays_while_one_of_two_is_new(
    both: Live, made: dict[str, Made], stars: dict[str, Made]
) -> None:
    before = bytes_below(both.production / "both")
    override(both, stars["other features"])
    assert bytes_below(both.production / "both") == before
    said = str(both_heads(both.store))
    assert f"{made['first'].version} and {stars['stars'].version}, not of what is live" in said
    assert "compute other features" in said
    assert verify(both.store) == []
    rollback(both.store, target_type="regression")
    assert heads(both.store) == [made["first"].version, stars["stars"].version]


def test_a_forged_or_damaged_file_is_found_and_written_again(both: Live) -> None:
    folder = both.production / "both"
    for name in ("model.onnx", "model.meta.json", "scorer.env"):
        before = bytes_below(folder)
        flip(folder / name)
        (problem,) = verify(both.store)
        assert problem.path == folder / name
        assert "not what follows from the files of its heads" in problem.what
        promote(both.found["first"]["onnx_model"], both.evidence["first"], store=both.store,
                run_id="again")  # fmt: skip
        assert bytes_below(folder) == before
    assert verify(both.store) == []


def test_a_whole_file_of_another_pair_is_no_file_of_this_one(
    both: Live, made: dict[str, Made], stars: dict[str, Made]
) -> None:
    """Consistent in itself, with the names of what is live and another's weights."""
    forged = join_heads([files(made["better"]), files(stars["stars"])])
    folder = both.production / "both"
    for name, content in forged.contents().items():
        (folder / name).unlink()
        (folder / name).write_bytes(content)
    assert {problem.path for problem in verify(both.store)} == {
        folder / "model.onnx", folder / "model.meta.json",
    }  # fmt: skip


def test_a_link_that_was_moved_or_removed_by_hand_is_put_right(both: Live) -> None:
    link = both.production / "both"
    target = str(link.readlink())
    for other in (None, "versions/elsewhere"):
        link.unlink()
        if other is not None:
            link.symlink_to(other)
        assert [problem.path for problem in verify(both.store)] == [link] * (other is not None)
        with changing_production(both.store):
            pass
        assert str(link.readlink()) == target
    assert verify(both.store) == []


def test_a_file_that_scores_otherwise_than_its_heads_is_not_linked(
    both: Live, made: dict[str, Made], stars: dict[str, Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bytes_below(both.production / "both")
    wrong = join_heads([files(made["better"]), files(stars["other head"])])
    monkeypatch.setattr("webcam_ml.live._both.join_heads", lambda _: wrong)
    both.promote("better")
    assert bytes_below(both.production / "both") == before
    assert "does not have the heads" in str(both_heads(both.store))
    monkeypatch.undo()
    with changing_production(both.store):
        pass
    assert heads(both.store) == [made["better"].version, stars["stars"].version]


@pytest.mark.deployed
def test_a_crash_at_any_step_leaves_one_whole_pair_and_the_next_command_completes(
    both: Live, made: dict[str, Made], stars: dict[str, Made]
) -> None:
    process = script(CRASH, both.store.root, *names(both, "better"), "promote")
    out, err = process.communicate()
    assert process.returncode == 0, err
    outcomes = [line.split(maxsplit=1) for line in out.splitlines()]
    assert [code for code, _ in outcomes] == ["9"] * (len(outcomes) - 1) + ["0"]
    second, seen = stars["stars"].version, set()
    for _, root in outcomes:
        store = ArtifactStore(Path(root))
        scorer = Scorer("onnx", model_path=store.root / "production" / "both" / "model.onnx")
        (result,) = scorer.score_many(PICTURES[:1])
        assert result.path == "onnx"
        served = [score.model_version for score in result.heads.values()]
        assert served == heads(store)
        with changing_production(store) as production:
            decided = production.ledger.live("binary")
        assert decided is not None
        assert heads(store) == [decided.version, second]
        if served != heads(store):
            assert verify(store) == []
        seen.add((served[0] == made["better"].version, decided.version == made["better"].version))
    assert seen == {(False, False), (False, True), (True, True)}


def test_pull_brings_the_file_with_both_heads_to_where_an_application_runs(
    both: Live, tmp_path: Path
) -> None:
    links = pull(FolderBucket(both.store.root), tmp_path / "app")
    assert list(links) == ["binary", "regression", "both"]
    for name in ("model.onnx", "model.meta.json"):
        assert (links["both"] / name).read_bytes() == (both.production / "both" / name).read_bytes()
    alone = pull(FolderBucket(both.store.root), tmp_path / "one", target_types=["binary"])
    assert list(alone) == ["binary"]
