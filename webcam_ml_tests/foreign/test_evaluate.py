"""`webcam-ml evaluate`: what people bring is measured as our own, refused with a sentence, never live."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from sklearn.metrics import average_precision_score, roc_auc_score

from webcam_ml.cli import main
from webcam_ml.dataset import Manifest, TargetConfig, UnusableTargetsError, build_manifest
from webcam_ml.errors import WebcamMLError
from webcam_ml.evaluation import EvalReport
from webcam_ml.foreign import ForeignPredictions, ForeignReport, evaluate_predictions
from webcam_ml.judging import Comparison, compare_with_champion
from webcam_ml.judging._evidence import eval_report_sha256
from webcam_ml.labels import LabelDatabase, LabelQuery, read_labels
from webcam_ml.live import PromotionRefused, candidate_counter, live_on_test, promote, were_live
from webcam_ml_tests.dataset.judges.said import JUDGES, many_labels
from webcam_ml_tests.label_schema import create_schema, insert_rows, plain_rows
from webcam_ml_tests.live.fixtures import Live, bytes_below
from webcam_ml_tests.live.models import RESAMPLES, Made

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(text: str) -> Path:
        path = tmp_path / "theirs.csv"
        path.write_text(text)
        return path

    return to_file


def csv_of(scores: pl.DataFrame) -> str:
    return scores.select("snapshot_id", score="raw_score").write_csv()


def evaluate(path: Path, manifest: Manifest, **options: object) -> ForeignReport:
    return evaluate_predictions(
        ForeignPredictions.read(path), manifest, bootstrap_samples=RESAMPLES, **options
    )


@pytest.fixture
def scores(made: dict[str, Made]) -> pl.DataFrame:
    """What the better model says of validation and test: a foreign model that is known inside out."""
    predictions = made["better"].report.predictions
    assert predictions is not None
    return predictions


@pytest.fixture
def manifest(made: dict[str, Made]) -> Manifest:
    return made["better"].world.manifest


def test_metrics_are_those_of_an_independent_reference(
    write: Write, scores: pl.DataFrame, manifest: Manifest
) -> None:
    found = evaluate(write(csv_of(scores)), manifest).report.document
    test = scores.filter(pl.col("split") == "test")
    target, score = test["target_label"].to_numpy(), test["raw_score"].to_numpy()
    assert found.metrics["roc_auc"].value == pytest.approx(roc_auc_score(target, score), abs=1e-6)
    assert found.metrics["average_precision"].value == pytest.approx(
        average_precision_score(target, score), abs=1e-6
    )
    prior = manifest.split("train").frame["target_label"].mean()
    assert [(one.name, one.constant) for one in found.baselines] == [
        ("prior", pytest.approx(prior, abs=1e-6))
    ]


def test_our_own_scores_give_our_own_report(
    write: Write, scores: pl.DataFrame, manifest: Manifest, made: dict[str, Made]
) -> None:
    """But for what needs pictures or the checkpoint, a score before calibration among it."""
    ours = made["better"].report.document.model_dump()
    theirs = evaluate(write(csv_of(scores)), manifest).report.document.model_dump()
    for name in ("test_split", "raters", "by_star", "webcams_with_most_error", "intervals"):
        assert theirs[name] == ours[name], name
    for name in ("roc_auc", "average_precision", "brier", "expected_calibration_error"):
        assert theirs["metrics"][name] == ours["metrics"][name], name
    assert [one["group"] for one in theirs["slices"]] == [one["group"] for one in ours["slices"]]
    assert theirs["decision_threshold"] == pytest.approx(ours["decision_threshold"], abs=1e-6)


def test_gates_that_need_no_file_are_asked_and_the_others_named(
    write: Write, scores: pl.DataFrame, manifest: Manifest, prepared: Live
) -> None:
    live = live_on_test(prepared.store, "binary")
    assert live is not None
    found = evaluate(write(csv_of(scores)), manifest, live=live)
    assert found.verdicts["quality_floor"].passed
    assert "no pictures were at hand" in found.verdicts["beats_trivial_baselines"].reason
    beside = found.verdicts["not_worse_than_champion"]
    test = scores.filter(pl.col("split") == "test").join(live.scores, on="snapshot_id")
    target = test["target_label"].to_numpy()
    assert beside.numbers["difference"] == pytest.approx(
        roc_auc_score(target, test["raw_score"].to_numpy())
        - roc_auc_score(target, test["live_score"].to_numpy()),
        abs=1e-6,
    )
    assert set(found.not_asked) == {
        "matches_torch", "serves_in_runtime", "same_definition", "no_demo_over_real",
        "scores_match_report", "no_looser_than_before", "same_pictures",
    }  # fmt: skip


def test_what_puts_the_worst_first_is_refused(
    write: Write, scores: pl.DataFrame, manifest: Manifest
) -> None:
    found = evaluate(
        write(csv_of(scores.with_columns(raw_score=1 - pl.col("raw_score")))), manifest
    )
    assert not found.verdicts["quality_floor"].passed
    assert not found.verdicts["beats_trivial_baselines"].passed


def test_regression_is_measured_in_stars(
    write: Write, made: dict[str, Made], scores: pl.DataFrame
) -> None:
    manifest = build_manifest(
        made["better"].world.labels,
        target=TargetConfig(target_type="regression"),
        split=made["better"].world.manifest.meta.split_config,
    )
    found = evaluate(write(csv_of(scores)), manifest).report.document
    test = scores.filter(pl.col("split") == "test").join(manifest.frame, on="snapshot_id")
    off = (1 + 4 * test["raw_score"] - test["label_value"]).abs().mean()
    assert found.metrics["mae"].value == pytest.approx(off, abs=1e-6)
    assert found.decision_threshold is None


def test_nobody_is_asked_for_scores_of_placeholders(
    write: Write, scores: pl.DataFrame, manifest: Manifest, made: dict[str, Made]
) -> None:
    """Four of 152 test rows of the demo show a card: too many rows without a score, it said."""
    cards = scores.filter(pl.col("split") == "test")["snapshot_id"].head(9)
    index = made["better"].world.index.without(cards, reason="placeholder")
    kept = scores.filter(~pl.col("snapshot_id").is_in(cards.implode()))
    found = evaluate(write(csv_of(kept)), manifest, index=index)
    assert found.report.document.test_split.left_out == {"placeholder": 9}
    assert found.verdicts["no_test_rows_left_out"].passed
    # A score that is there all the same counts for nothing.
    again = evaluate(write(csv_of(scores)), manifest, index=index)
    assert again.report.document.metrics == found.report.document.metrics
    # Another database has other pictures under the same ids.
    elsewhere = replace(index, frame=index.frame.with_columns(source=pl.lit("elsewhere")))
    assert (
        not evaluate(write(csv_of(kept)), manifest, index=elsewhere)
        .verdicts["no_test_rows_left_out"]
        .passed
    )


def test_rows_without_a_score_and_scores_without_a_row_are_counted(
    write: Write, scores: pl.DataFrame, manifest: Manifest
) -> None:
    test = scores.filter(pl.col("split") == "test")
    train = manifest.split("train").frame["snapshot_id"][:7]
    kept = pl.concat(
        [
            scores.join(test[:3], on="snapshot_id", how="anti").select("snapshot_id", "raw_score"),
            pl.DataFrame({"snapshot_id": [*train, 10**9, 10**9 + 1], "raw_score": 0.5}),
        ]
    )
    found = evaluate(write(csv_of(kept)), manifest)
    assert found.counts == {
        "train": 7,
        "val": manifest.meta.counts["val"],
        "test": test.height - 3,
        "unknown": 2,
    }
    assert found.report.document.test_split.left_out == {"no score": 3}
    missing = found.verdicts["no_test_rows_left_out"]
    assert missing.passed is (3 / test.height <= 0.02)
    assert f"Of {test.height} test rows 3 have no score" in missing.reason


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("snapshot_id,score\n", "no line below its first"),
        ("id,score\n1,0.5\n", "lacks the column snapshot_id; it has id, score"),
        ("a\n1\n", "lacks the column snapshot_id and score"),
        ("snapshot_id,score,score\n1,0.5,0.6\n", "the column score more than once"),
        ("snapshot_id,score\n1,0.5\n2,nan\n", "no finite number, the first is line 3 with 'nan'"),
        ("snapshot_id,score\n1,\n", "no finite number, the first is line 2 with nothing"),
        ("snapshot_id,score\n1,inf\n", "no finite number"),
        ("snapshot_id,score\n1,4.5\n", r"not from 0 to 1.* line 2 with '4.5'\. If these are stars"),
        ("snapshot_id,score\n1,-0.1\n", "not from 0 to 1"),
        ("snapshot_id,score\n1.5,0.1\n", "no whole number, the first is line 2 with '1.5'"),
        ("snapshot_id,score\n7,0.1\n8,0.2\n7,0.1\n", "the first is 7 in lines 2, 4"),
        ("snapshot_id,score\n1,0.5,3,4\n", "is no table"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(write: Write, text: str, said: str) -> None:
    with pytest.raises(WebcamMLError, match=said):
        ForeignPredictions.read(write(text))


def test_too_few_scores_say_which_rows_they_lack(
    write: Write, scores: pl.DataFrame, manifest: Manifest
) -> None:
    only = {name: csv_of(scores.filter(pl.col("split") == name)) for name in ("val", "test")}
    with pytest.raises(
        WebcamMLError, match="val rows of the manifest has a score, and they choose"
    ):
        evaluate(write(only["test"]), manifest)
    with pytest.raises(WebcamMLError, match="test rows of the manifest has a score"):
        evaluate(write(only["val"]), manifest)
    with pytest.raises(WebcamMLError, match="1 are of snapshots that the manifest does not know"):
        evaluate(write("snapshot_id,score\n999999999,0.5\n"), manifest)
    with pytest.raises(WebcamMLError, match="give manifest_full"):
        evaluate(write(only["test"]), manifest.split("test"))


def test_a_manifest_of_another_target_type_is_named(
    write: Write, scores: pl.DataFrame, manifest: Manifest
) -> None:
    stars = replace(manifest, frame=manifest.frame.with_columns(target_label="label_value"))
    with pytest.raises(WebcamMLError, match="another target type than"):
        evaluate(write(csv_of(scores)), stars)
    ranks = replace(manifest, meta=replace(manifest.meta, target_type="ranking"))
    with pytest.raises(WebcamMLError, match="'ranking'; it must be one of binary, regression"):
        evaluate(write(csv_of(scores)), ranks)


def test_what_a_judge_means_is_no_label_of_another_target_type(
    write: Write, scores: pl.DataFrame, manifest: Manifest
) -> None:
    of_judge = (pl.col("split") == "train") & (pl.col("snapshot_id") % 5 == 0)
    heard = manifest.frame.with_columns(
        target_label=pl.when(of_judge).then(0.43).otherwise("target_label"),
        label_origin=pl.when(of_judge).then(pl.lit("judge:one")).otherwise("label_origin"),
    )
    assert heard["target_label"].n_unique() == 3
    evaluate(write(csv_of(scores)), replace(manifest, frame=heard))


def test_a_row_that_no_person_rated_is_no_reference(
    write: Write, scores: pl.DataFrame, manifest: Manifest
) -> None:
    others = manifest.frame.with_columns(label_source=pl.lit("a language model"))
    with pytest.raises(UnusableTargetsError, match="not rated by people"):
        evaluate(write(csv_of(scores)), replace(manifest, frame=others))


def test_the_command_says_it_all_and_leaves_the_store_as_it_was(
    write: Write,
    scores: pl.DataFrame,
    live: Live,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WEBCAM_ML_ARTIFACTS", str(live.store.root))
    before = bytes_below(live.store.root)
    path = write(csv_of(scores))
    manifest = live.found["better"]["manifest_full"].folder / "manifest_full.csv"
    assert main(["evaluate", "--predictions", str(path), "--manifest", str(manifest)]) == 0
    said = capsys.readouterr().out
    for words in ("roc_auc", "95 % interval", "webcam source", "yes  quality_floor", "not asked"):
        assert words in said
    assert "promotes nothing" in said.splitlines()[-2]
    folder = path.with_name("theirs-report")
    assert {path.name for path in folder.iterdir()} >= {"eval_report.json", "foreign.json"}
    assert EvalReport.load(folder).document.checkpoint.startswith("foreign:")
    assert json.loads((folder / "foreign.json").read_text())["foreign"] is True
    assert bytes_below(live.store.root) == before
    assert main(["evaluate", "--predictions", str(path)]) == 1
    assert "is not empty: name another folder with --to" in capsys.readouterr().err
    inside = live.store.root / "eval_report" / "mine"
    assert main(["evaluate", "--predictions", str(path), "--to", str(inside)]) == 1
    assert "is in the artifact store" in capsys.readouterr().err


def test_without_a_manifest_the_latest_of_the_store_counts_or_the_label_database(
    write: Write,
    scores: pl.DataFrame,
    live: Live,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WEBCAM_ML_ARTIFACTS", str(live.store.root))
    asked = ["evaluate", "--predictions", str(write(csv_of(scores))), "--to"]
    assert main([*asked, str(tmp_path / "one")]) == 0
    assert str(live.store.latest("manifest_full").folder) in capsys.readouterr().out
    monkeypatch.setenv("WEBCAM_ML_ARTIFACTS", str(tmp_path / "none"))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'nothing.sqlite'}")
    assert main([*asked, str(tmp_path / "two")]) == 1
    assert "nothing.sqlite" in capsys.readouterr().err
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'labels.sqlite'}")
    create_schema(engine)
    insert_rows(engine, plain_rows(n_webcams=80))
    engine.dispose()
    database = LabelDatabase(f"sqlite:///{tmp_path / 'labels.sqlite'}")
    ids = build_manifest(read_labels(database, LabelQuery())).frame["snapshot_id"]
    theirs = write("snapshot_id,score\n" + "".join(f"{one},0.{one % 10}\n" for one in ids))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'labels.sqlite'}")
    assert main(["evaluate", "--predictions", str(theirs), "--to", str(tmp_path / "two")]) == 0
    assert "the label database, at the default settings" in capsys.readouterr().out
    lonely = tmp_path / "manifest_full.csv"
    lonely.write_text("snapshot_id\n")
    assert main([*asked, str(tmp_path / "three"), "--manifest", str(lonely)]) == 1
    assert "export_meta.json is not there" in capsys.readouterr().err


def test_nothing_that_promotes_can_take_the_report_for_a_candidates(
    write: Write, scores: pl.DataFrame, manifest: Manifest, live: Live, made: dict[str, Made]
) -> None:
    """There is no file to go live; and beside a file of ours the report is one on other bytes."""
    foreign = evaluate(write(csv_of(scores)), manifest)
    candidate, world = live.found["better"], made["better"].world
    with pytest.raises(WebcamMLError, match="cannot be compared: its checkpoint is"):
        compare_with_champion(
            candidate["onnx_model"],
            foreign.report,
            manifest.split("val"),
            manifest.split("test"),
            world.index,
            store=live.store,
            were_live=were_live(live.store, "binary"),
            count_candidate=candidate_counter(live.store, "binary"),
            images=world.images,
        )
    ours = live.evidence["better"].load(Comparison)
    document = foreign.report.document
    slipped = replace(
        ours,
        eval_document=document,
        evidence=ours.evidence.model_copy(
            update={"eval_report_sha256": eval_report_sha256(document)}
        ),
    )
    evidence = live.works.put_evidence(slipped, candidate)
    with pytest.raises(PromotionRefused, match="its checkpoint is foreign:"):
        promote(candidate["onnx_model"], evidence, store=live.store, run_id="run")
    stored = live.works.put(
        "champion_comparison", foreign.report, onnx_model=candidate["onnx_model"]
    )
    with pytest.raises(PromotionRefused, match="there is no evidence"):
        promote(candidate["onnx_model"], stored, store=live.store, run_id="run")
    assert "checkpoint" not in {path.name for path in (live.store.root / "production").iterdir()}


def test_where_judges_are_heard_only_peoples_labels_are_asked_and_judges_stand_beside(
    write: Write,
) -> None:
    labels = many_labels({"good": JUDGES["good"]})
    manifest = build_manifest(labels)
    assert manifest.frame["target_label"].n_unique() > 2
    people = manifest.frame.filter(pl.col("label_origin") == "people")
    scores = people.select("snapshot_id", raw_score=(pl.col("label_value") - 1) / 4)
    found = evaluate(write(csv_of(scores)), manifest).report.document
    prior = people.filter(pl.col("split") == "train")["target_label"].mean()
    assert found.baselines[0].constant == pytest.approx(prior, abs=1e-6)
    assert found.judges is not None
    assert [(one.name, one.rows) for one in found.judges] == [("good", found.test_split.rows)]
