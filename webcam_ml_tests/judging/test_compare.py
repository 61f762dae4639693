import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from webcam_ml import judging
from webcam_ml.dataset import ExportMeta, SplitConfig, TargetConfig, build_manifest
from webcam_ml.dataset.duplicates import DuplicateWebcams
from webcam_ml.dataset.images import ArrayCache, ImageCache
from webcam_ml.dataset.judges import Calibration, HeardJudge, HeardJudges
from webcam_ml.dataset.judges._calibration import Overlap
from webcam_ml.errors import WebcamMLError
from webcam_ml.evaluation import EvalReport
from webcam_ml.export import ExportedModel, score_pictures
from webcam_ml.judging import (
    MAX_ROWS_OF_A_CAMERA,
    WARNINGS,
    Comparison,
    ComparisonSettings,
    EvidenceError,
    ModelFile,
    compare_with_champion,
    judge,
)
from webcam_ml.judging._changes import changes_between
from webcam_ml.judging._runtime import RuntimeProcess, score_in_runtime
from webcam_ml.labels import LabelQuery
from webcam_ml.live import PromotionRefused, candidate_counter, promote_override, were_live
from webcam_ml.store import ArtifactStore
from webcam_ml_tests.dataset.judges.said import JUDGES, many_labels
from webcam_ml_tests.live.fixtures import Live, bytes_below, flip
from webcam_ml_tests.live.models import Made, Works, make, make_world_of
from webcam_ml_tests.world import World, make_world

SPEAKING = HeardJudge(Calibration("gemini", None, Overlap(300, 60, 30)), rows=10, drift=None)


def beside(live: Live, world: World) -> dict[str, Any]:
    """What a comparison takes beside the candidate and its rows."""
    return {
        "store": live.store,
        "were_live": were_live(live.store, "binary"),
        "count_candidate": candidate_counter(live.store, "binary"),
        "images": world.images,
    }


@pytest.fixture(scope="module")
def comparison(prepared: Live) -> Comparison:
    return prepared.evidence["better"].load(Comparison)


def test_the_numbers_are_those_of_the_model_files_on_the_same_rows(
    comparison: Comparison, made: dict[str, Made]
) -> None:
    world = made["better"].world
    rows = world.rows("test").frame
    auc = {}
    for name in ("better", "first"):
        scores = score_pictures(
            made[name].exported, rows["sha256"].to_list(), images=world.images, cache=world.cache
        )
        auc[name] = roc_auc_score(rows["target_label"].to_numpy(), scores)
    assert comparison.evidence.champion is not None
    paired = comparison.evidence.champion.metrics["roc_auc"]
    assert paired.candidate.value == pytest.approx(auc["better"], abs=1e-6)
    assert paired.rival.value == pytest.approx(auc["first"], abs=1e-6)
    assert paired.difference.value == pytest.approx(auc["better"] - auc["first"], abs=2e-6)
    assert paired.lower_bound < paired.difference.value < paired.upper_bound
    assert comparison.evidence.candidate.metrics["roc_auc"] == paired.candidate


def test_scores_of_the_fresh_process_equal_those_of_this_one_to_the_bit(
    made: dict[str, Made], tmp_path: Path, prepared: Live
) -> None:
    world = made["better"].world
    digests = world.rows("test").frame["sha256"].to_list()
    folder = prepared.found["better"]["onnx_model"].folder
    exported = made["better"].exported
    model = ModelFile(folder / "model.onnx", exported.meta.model_version, exported.sha256)
    with RuntimeProcess(model) as runtime:
        fresh = score_in_runtime(runtime, digests, images=world.images)
    here = score_pictures(exported, digests, images=world.images, cache=tmp_path)
    np.testing.assert_array_equal(fresh, here)


def test_scores_written_into_the_cache_change_nothing(
    live: Live, made: dict[str, Made], prepared: Live
) -> None:
    """With them an AUC of 1.000 was shown where .790 is true."""
    world = made["better"].world
    rows = world.rows("test").frame
    perfect = {
        digest: np.array([target], np.float32)
        for digest, target in rows.select("sha256", "target_label").iter_rows()
    }
    forged = [
        ArrayCache(world.cache / table / f"{made[name].exported.sha256[:24]}.sqlite", np.float32)
        for name in ("better", "first")
        for table in ("predictions", "features")
    ]
    for cache in forged:
        cache.keep(perfect)
    again = live.works.compare(live.found["better"], world.cache).load(Comparison)
    for cache in forged:
        cache.path.unlink()
    assert again.evidence == prepared.evidence["better"].load(Comparison).evidence


def test_a_report_on_other_scores_than_the_file_gives_is_a_defect(
    live: Live, made: dict[str, Made]
) -> None:
    """As it would be if the cache of features had been written by somebody."""
    better, world = made["better"], made["better"].world
    assert better.report.predictions is not None
    predictions = better.report.predictions.with_columns(
        raw_score=pl.when(pl.int_range(pl.len()) == 7)
        .then(1.0 - pl.col("raw_score"))
        .otherwise(pl.col("raw_score"))
    )
    for report in (
        replace(better.report, predictions=predictions),
        replace(better.report, predictions=better.report.predictions[1:]),
        replace(better.report, predictions=None),
    ):
        result = compare_with_champion(
            live.found["better"]["onnx_model"], report, world.manifest.split("val"),
            world.manifest.split("test"), world.index, **beside(live, world),
        )  # fmt: skip
        failed = [name for name, one in judge(result.comparison).items() if not one.passed]
        assert failed == ["scores_match_report"]
        live.evidence["better"] = live.works.put_evidence(result.comparison, live.found["better"])
        with pytest.raises(PromotionRefused, match="is defective") as caught:
            live.promote("better")
        assert caught.value.refusal is None


def test_the_pair_of_two_probes_is_validation_and_test_with_capped_cameras(
    comparison: Comparison, made: dict[str, Made]
) -> None:
    world = made["better"].world
    rows = pl.concat([world.rows(part).frame for part in ("val", "test")])
    scores = [
        score_pictures(
            made[name].exported, rows["sha256"].to_list(), images=world.images, cache=world.cache
        )
        for name in ("better", "first")
    ]
    assert comparison.evidence.champion is not None
    pair = comparison.evidence.champion.pair
    assert pair is not None
    assert (pair.splits, pair.rows, pair.candidate_number) == (["val", "test"], rows.height, 1)
    size = rows.group_by("camera_id").len()
    weight = rows.join(size, on="camera_id", how="left", maintain_order="left")["len"]
    weight = np.minimum(1.0, MAX_ROWS_OF_A_CAMERA / weight.to_numpy())
    target = rows["target_label"].to_numpy()
    better, first = (roc_auc_score(target, one, sample_weight=weight) for one in scores)
    assert pair.difference == pytest.approx(better - first, abs=2e-6)
    assert "On test alone" in judge(comparison)["not_worse_than_champion"].reason


def test_the_digest_of_the_evidence_covers_the_rows_that_were_scored(
    live: Live, made: dict[str, Made], prepared: Live
) -> None:
    """A limit of size chose 102 of 151 test rows, and nothing in the evidence said which."""
    better = made["better"]
    few = replace(
        better.world.index,
        frame=better.world.index.frame.with_columns(
            status=pl.when(pl.int_range(pl.len()) % 3 == 0)
            .then(pl.lit("failed"))
            .otherwise(pl.col("status")),
            error=pl.when(pl.int_range(pl.len()) % 3 == 0)
            .then(pl.lit("too large"))
            .otherwise(pl.col("error")),
        ),
    )
    result = compare_with_champion(
        live.found["better"]["onnx_model"], better.report, better.world.manifest.split("val"),
        better.world.manifest.split("test"), few, **beside(live, better.world),
    )  # fmt: skip
    before = prepared.evidence["better"].load(Comparison).evidence.test_split
    found = result.comparison.evidence.test_split
    assert found.sha256 == before.sha256
    assert found.scored_sha256 != before.scored_sha256
    verdict = judge(result.comparison)["no_test_rows_left_out"]
    assert not verdict.passed
    assert "too large" in verdict.reason


def test_pictures_that_were_exchanged_since_the_live_model_are_counted_and_refused(
    live: Live, made: dict[str, Made]
) -> None:
    """Notes in the cache say which picture an address has: they led from bad rows to good pictures."""
    better, world = made["better"], made["better"].world
    test = world.rows("test").frame
    good = test.filter(pl.col("target_label") == 1)["sha256"][0]
    rows = test.filter(pl.col("target_label") == 1)["snapshot_id"].head(9)
    exchanged = replace(
        world.index,
        frame=world.index.frame.with_columns(
            sha256=pl.when(pl.col("snapshot_id").is_in(rows.implode()))
            .then(pl.lit(good))
            .otherwise("sha256")
        ),
    )
    result = compare_with_champion(
        live.found["better"]["onnx_model"], better.report, world.manifest.split("val"),
        world.manifest.split("test"), exchanged, **beside(live, world),
    )  # fmt: skip
    rival = result.comparison.evidence.champion
    assert rival is not None
    assert rival.known_pictures is not None
    both = sum(world.rows(part).frame.height for part in ("val", "test"))
    assert (rival.known_pictures.rows, rival.known_pictures.changed) == (both, 8)
    verdict = judge(result.comparison)["same_pictures"]
    assert not verdict.passed
    assert f"Of {both} snapshots" in verdict.reason


@pytest.mark.parametrize(
    ("column", "value"), [("label_source", "a language model"), ("label_origin", "judge:gemini")]
)
def test_models_are_judged_on_webcams_and_ratings_of_people_alone(
    live: Live, made: dict[str, Made], column: str, value: str
) -> None:
    better, world = made["better"], made["better"].world
    manifest = world.manifest.split("val")
    judged = replace(manifest, frame=manifest.frame.with_columns(pl.lit(value).alias(column)))
    with pytest.raises(WebcamMLError, match="not of a webcam or not rated by people"):
        compare_with_champion(
            live.found["better"]["onnx_model"], better.report, judged,
            world.manifest.split("test"), world.index, **beside(live, world),
        )  # fmt: skip


def test_the_scoring_process_imports_nothing_but_the_runtime() -> None:
    child = Path(judging.__file__).with_name("_runtime_child.py")
    look = (
        f"import runpy, sys; runpy.run_path({str(child)!r}); "
        "print(sorted(name for name in sys.modules if name.startswith('webcam_ml.')))"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    packages = {name.split(".")[1] for name in ast.literal_eval(done.stdout)}
    assert packages == {"contracts", "errors", "limits", "scoring"}


def test_equal_comparisons_give_equal_bytes_wherever_the_store_is(
    live: Live, prepared: Live, made: dict[str, Made], tmp_path: Path
) -> None:
    again = live.works.compare(live.found["better"], made["better"].world.cache)
    one, two = (bytes_below(found.folder) for found in (again, prepared.evidence["better"]))
    assert {name: one[name] for name in one if name != "lineage.json"} == {
        name: two[name] for name in two if name != "lineage.json"
    }
    assert b"/" + str(tmp_path.name).encode() not in one["champion_comparison.json"]


def test_evidence_survives_being_stored(comparison: Comparison, tmp_path: Path) -> None:
    comparison.save(tmp_path)
    assert Comparison.load(tmp_path) == comparison
    assert (tmp_path / "champion_comparison.png").read_bytes()[:4] == b"\x89PNG"


def test_the_report_beside_the_evidence_is_the_original_to_the_byte(prepared: Live) -> None:
    original = prepared.found["better"]["eval_report"].folder / "eval_report.json"
    beside = prepared.evidence["better"].folder / "eval_report.json"
    assert beside.read_bytes() == original.read_bytes()


def test_another_report_beside_the_evidence_is_noticed(
    comparison: Comparison, made: dict[str, Made], tmp_path: Path
) -> None:
    replace(comparison, eval_document=made["first"].report.document).save(tmp_path)
    with pytest.raises(EvidenceError, match=r"eval_report\.json"):
        Comparison.load(tmp_path)


def test_what_differs_from_the_live_model_is_listed(comparison: Comparison) -> None:
    changes = {(one.kind, one.what) for one in comparison.evidence.changes}
    assert changes == {("data", "labels")}


def test_the_table_has_a_row_for_each_metric(comparison: Comparison, prepared: Live) -> None:
    table = comparison.table()
    assert [row["metric"] for row in table] == ["roc_auc", "average_precision", "f1", "brier"]
    assert table[0]["difference"] > 0
    assert "live" not in prepared.evidence["first"].load(Comparison).table()[0]


def test_parts_that_do_not_belong_together_are_refused(live: Live, made: dict[str, Made]) -> None:
    world = made["better"].world
    with pytest.raises(WebcamMLError, match="checkpoint is"):
        compare_with_champion(
            live.found["better"]["onnx_model"], made["first"].report, world.manifest.split("val"),
            world.manifest.split("test"), world.index, **beside(live, world),
        )  # fmt: skip
    with pytest.raises(WebcamMLError, match="test split is"):
        compare_with_champion(
            live.found["better"]["onnx_model"], made["better"].report, world.manifest.split("val"),
            world.manifest.split("val"), world.index, **beside(live, world),
        )  # fmt: skip


def test_a_damaged_live_model_is_compared_with_nothing(live: Live, made: dict[str, Made]) -> None:
    flip(live.production / "binary" / "model.onnx")
    with pytest.raises(WebcamMLError, match=r"is not what went live"):
        live.works.compare(live.found["better"], made["better"].world.cache)


def test_a_file_that_the_runtime_refuses_is_evidence_too(live: Live, made: dict[str, Made]) -> None:
    """model.meta.json says another digest: what a hand-made candidate may look like."""
    better = made["better"]
    meta = better.exported.meta.model_copy(update={"sha256": "0" * 64})
    broken = ExportedModel(better.exported.model, meta, better.exported.parity)
    found = live.found["better"]
    names = ("checkpoint", "eval_report", "image_index")
    candidate = live.works.put("onnx_model", broken, **{name: found[name] for name in names})
    world = better.world
    result = compare_with_champion(
        candidate, better.report, world.manifest.split("val"), world.manifest.split("test"),
        world.index, **beside(live, world),
    )  # fmt: skip
    assert result.milliseconds is None
    reason = result.comparison.evidence.serving.reason
    assert reason is not None
    assert str(live.store.root) not in reason
    failed = {name for name, one in judge(result.comparison).items() if not one.passed}
    assert {"serves_in_runtime", "quality_floor", "not_worse_than_champion"} <= failed


def test_pictures_come_from_the_cache_or_not_at_all(live: Live, made: dict[str, Made]) -> None:
    world, found = made["better"].world, live.found["better"]
    with pytest.raises(WebcamMLError, match="materialize image_index again"):
        compare_with_champion(
            found["onnx_model"], found["eval_report"].load(EvalReport),
            world.manifest.split("val"), world.manifest.split("test"), world.index,
            **(beside(live, world) | {"images": ImageCache(live.store.root / "nowhere")}),
        )  # fmt: skip


@pytest.fixture(scope="module")
def redefined(made: dict[str, Made]) -> Made:
    """Trained with another division of the webcams, and threes counted as good."""
    world = made["better"].world
    manifest = build_manifest(
        world.labels,
        target=TargetConfig(binary_threshold=3.0),
        split=SplitConfig(seed=7, train_pct=60, val_pct=20, test_pct=20),
    )
    return make(World(world.labels, manifest, world.index, world.images, world.cache))


def test_test_webcams_that_the_live_model_was_trained_on_are_left_out_and_counted(
    live: Live, made: dict[str, Made], redefined: Made
) -> None:
    found = live.works.add(redefined)
    evidence = live.works.compare(found, redefined.world.cache).load(Comparison).evidence
    mine = set(redefined.world.rows("test").frame["webcam_id"])
    theirs = {
        webcam
        for part in ("train", "val")
        for webcam in made["first"].world.rows(part).frame["webcam_id"]
    }
    assert evidence.champion is not None
    assert mine & theirs
    assert evidence.champion.webcams == len(mine - theirs)
    assert evidence.champion.webcams_left_out == len(mine & theirs)
    assert evidence.champion.rows + evidence.champion.rows_left_out == evidence.test_split.rows


def test_another_definition_is_refused_unless_a_reason_is_given(
    live: Live, redefined: Made
) -> None:
    found = live.works.add(redefined)
    cache = redefined.world.cache
    comparison = live.works.compare(found, cache).load(Comparison)
    verdict = judge(comparison)["same_definition"]
    assert not verdict.passed
    assert verdict.numbers == {"binary_threshold": "4.0 → 3.0", "seed": "20260212 → 7"}
    settings = ComparisonSettings(definition_change="threes are good enough")
    assert judge(live.works.compare(found, cache, settings).load(Comparison))[
        "same_definition"
    ].passed


@pytest.mark.parametrize(
    ("what", "value", "of_live", "of_candidate"),
    [
        ("duplicate_webcams", DuplicateWebcams(((1003, 1007),), "0" * 64, 600, 0), "false", "true"),
        ("heard", HeardJudges((SPEAKING,), {}), None, "gemini"),
        ("query", LabelQuery(min_rating_count=2), 1, 2),
        ("query", LabelQuery(curator_sessions=("ada",)), "", "ada"),
    ],
    ids=["merge_duplicate_webcams", "judges that speak", "min_rating_count", "curator_sessions"],
)
def test_what_decides_whose_ratings_and_which_webcams_count_is_the_definition(
    live: Live,
    made: dict[str, Made],
    request: pytest.FixtureRequest,
    what: str,
    value: object,
    of_live: object,
    of_candidate: object,
) -> None:
    """Without merging, a test camera may be in train under its other id, and nobody was told."""
    found = live.found
    meta = replace(made["better"].world.manifest.meta, **{what: value})
    changes = changes_between(
        found["first"]["onnx_model"], found["better"]["onnx_model"], meta, live.store
    )
    (change,) = [one for one in changes if one.kind == "definition"]
    assert change.what == request.node.callspec.id
    assert (change.champion, change.candidate) == (of_live, of_candidate)


def test_model_and_evidence_name_the_judges_that_were_learned_from(
    live: Live, made: dict[str, Made]
) -> None:
    better = made["better"]
    judges = {"good": JUDGES["good"], "noise": JUDGES["noise"]}
    of_judges = build_manifest(many_labels(judges, webcams=400))
    heard = of_judges.meta.heard
    assert heard is not None
    assert heard.speaking == ("good",)
    rows = of_judges.frame.filter(pl.col("label_origin") == "judge:good").height
    assert rows > 0
    named = {
        "speaking": [{"name": "good", "weight": heard.weights["good"], "rows": rows}],
        "calibration_sha256": heard.calibration_sha256,
    }
    query = LabelQuery(label_source="all_judges")
    # The same rows, said to be learned from with these judges.
    meta = replace(better.world.manifest.meta, query=query, heard=heard)
    manifest = replace(better.world.manifest, meta=meta, said=of_judges.said)
    world = replace(better.world, manifest=manifest)
    found = live.works.add(make(world, better.checkpoint))
    evidence = live.works.compare(found, world.cache).load(Comparison).evidence
    assert ExportMeta.load(found["manifest_full"].folder).heard == heard
    document = json.loads((found["onnx_model"].folder / "model.meta.json").read_text())
    assert document["label_query"]["label_source"] == "all_judges"
    assert document["judges"] == named
    candidate = json.loads(evidence.model_dump_json())["candidate"]
    assert (candidate["label_source"], candidate["judges"]) == ("all_judges", named)

    of_people = live.found["better"]["onnx_model"].folder / "model.meta.json"
    assert "judges" not in json.loads(of_people.read_text())
    evidence = live.evidence["better"].load(Comparison).evidence
    candidate = json.loads(evidence.model_dump_json())["candidate"]
    assert candidate["label_source"] == "manual_only"
    assert "judges" not in candidate


def test_being_worse_on_the_live_models_labels_is_measured_and_said(
    live: Live, made: dict[str, Made]
) -> None:
    """Two kinds of rating, of which one likes what the other dislikes: each model is good by its own."""
    world = made["better"].world
    live.promote("better")
    stars = [f"stars_{star}" for star in range(1, 6)]
    rated = ("label_value", "cached_rating", "fresh_rating")
    others = replace(
        world.labels,
        query=LabelQuery(label_source="public_aggregate"),
        frame=world.labels.frame.with_columns(
            pl.lit("public_aggregate").alias("label_source"),
            *((6.0 - pl.col(name)).alias(name) for name in rated),
            *(pl.col(stars[4 - place]).alias(name) for place, name in enumerate(stars)),
        ),
    )
    candidate = make(make_world(world.cache.parent, labels=others))
    comparison = live.works.compare(
        live.works.add(candidate), world.cache, ComparisonSettings(definition_change="the public")
    ).load(Comparison)
    rival = comparison.evidence.champion
    assert rival is not None
    assert rival.on_live_labels is not None
    assert {one.what for one in comparison.evidence.changes if one.kind == "definition"} == {
        "label_source"
    }
    # No camera has more rows than may count, so the reference is the plain AUC of each.
    rows = pl.concat([world.manifest.split(part).frame for part in ("val", "test")])
    scored = {
        name: one.report.predictions.select("snapshot_id", name=pl.col("raw_score"))
        for name, one in (("candidate", candidate), ("live", made["better"]))
        if one.report.predictions is not None
    }
    auc = {}
    for name, scores in scored.items():
        both = rows.join(scores, on="snapshot_id")
        auc[name] = roc_auc_score(both["target_label"].to_numpy(), both["name"].to_numpy())
    found = rival.on_live_labels
    assert (found.rows, found.webcams) == (rows.height, rows["webcam_id"].n_unique())
    assert found.difference.value == pytest.approx(auc["candidate"] - auc["live"], abs=2e-3)
    assert found.difference.high is not None
    assert found.difference.high < 0
    verdict = WARNINGS["not_worse_on_live_labels"](comparison)
    assert not verdict.passed
    assert f"By the labels of the live model, {made['better'].version}, the candidate is worse" in (
        verdict.reason
    )
    assert comparison.verdicts["not_worse_on_live_labels"].reason == verdict.reason
    # By its own labels it is the better one.
    assert judge(comparison)["quality_floor"].passed
    assert rival.pair is not None
    assert rival.pair.difference is not None
    assert rival.pair.difference > 0


def test_the_best_that_was_ever_live_is_compared_with_if_it_is_not_the_live_one(
    live: Live, made: dict[str, Made], redefined: Made
) -> None:
    """better, then worse by override: the next is measured beside both."""
    live.promote("better")
    promote_override(live.store, made["shuffled"].version, reason="a drill")
    found = live.works.add(redefined)
    evidence = live.works.compare(found, redefined.world.cache).load(Comparison).evidence
    assert evidence.champion is not None
    assert evidence.best_ever_live is not None
    assert evidence.champion.model_version == made["shuffled"].version
    assert evidence.best_ever_live.model_version == made["better"].version


def test_regression_is_judged_by_mae_and_spearman(made: dict[str, Made], tmp_path: Path) -> None:
    world = make_world_of(made["better"].world.cache.parent, TargetConfig(target_type="regression"))
    regression = make(world)
    works = Works(ArtifactStore(tmp_path / "store"))
    promotion = works.run(regression)
    numbers = promotion.verdicts["quality_floor"].numbers
    assert set(numbers) == {"value", "mae_of_median", "spearman", "min_spearman"}
    assert (tmp_path / "store" / "production" / "regression" / "model.onnx").exists()
    # The one target type does not stand in the other's way.
    assert works.run(made["first"]).entry.replaces is None
    assert not works.run(regression).is_new
