"""What counts as another definition of the labels."""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from webcam_ml.dataset import build_manifest
from webcam_ml.judging import Comparison, judge
from webcam_ml.judging._changes import changes_between
from webcam_ml.labels import Labels
from webcam_ml.store import StoredArtifact
from webcam_ml_tests.dataset.judges.said import JUDGES, with_judges
from webcam_ml_tests.live.fixtures import Live
from webcam_ml_tests.live.models import Made


def renamed(labels: Labels, names: Mapping[str, str]) -> Labels:
    judged = labels.judged
    assert judged is not None
    said = judged.said.with_columns(pl.col("judge").replace(names))
    judges = {names[name]: numbers for name, numbers in judged.judges.items()}
    return replace(labels, judged=replace(judged, said=said, judges=judges))


def test_a_judge_with_another_name_is_another_definition(live: Live, made: dict[str, Made]) -> None:
    """Whatever it says: who renames a judge mid-way may have changed what answers to the name."""
    first = made["first"]
    before = with_judges(first.world.labels, {"good": JUDGES["good"]}, known=0.7)

    def store(labels: Labels) -> tuple[StoredArtifact, Made]:
        manifest = build_manifest(labels, split=first.world.manifest.meta.split_config)
        one = replace(first, world=replace(first.world, labels=labels, manifest=manifest))
        return live.works.add(one)["onnx_model"], one

    champion, same = store(before)
    candidate, other = store(renamed(before, {"good": "gemini-3"}))
    assert same.world.manifest.meta.heard is not None
    assert same.world.manifest.meta.heard.speaking == ("good",)
    meta = other.world.manifest.meta
    changes = list(changes_between(champion, candidate, meta, live.store))
    named, *others = changes
    assert (named.kind, named.what, named.champion, named.candidate) == (
        "definition", "judges that speak", "good", "gemini-3",
    )  # fmt: skip
    # The calibration names whom it is of.
    assert [(one.kind, one.what) for one in others] == [("data", "calibration of judges")]
    comparison = live.evidence["better"].load(Comparison)
    evidence = comparison.evidence.model_copy(update={"changes": changes})
    verdict = judge(replace(comparison, evidence=evidence))["same_definition"]
    assert not verdict.passed
    assert verdict.numbers == {"judges that speak": "good → gemini-3"}
    unchanged = changes_between(champion, candidate, same.world.manifest.meta, live.store)
    assert not list(unchanged)
