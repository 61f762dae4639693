"""The live link is swung under a scorer that runs: each call is one model's, whole."""

import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from webcam_ml.scoring import ImageError, Score, Scorer
from webcam_ml_tests.scoring.broken import BROKEN
from webcam_ml_tests.scoring.models import JPEG, LiveLink, tiny_model, write_model


@pytest.fixture
def live(tmp_path: Path) -> LiveLink:
    return LiveLink(tmp_path)


def scorer_of(live: LiveLink, **options: str) -> Scorer:
    return Scorer("onnx", model_path=live.path, threads=2, **options)


def scores(scorer: Scorer, images: Iterator[bytes]) -> list[Score]:
    found = []
    for result in scorer.score_many(images):
        assert not isinstance(result, ImageError)
        assert result.model is not None
        assert result.model.model_version == result.score.model_version
        found.append(result.score)
    return found


def test_the_next_call_is_scored_by_what_the_link_leads_to(live: LiveLink) -> None:
    scorer = scorer_of(live)
    assert scorer.score(JPEG) == live.scores["first"]

    for name in ("second", "first", "second"):
        live.lead_to(name)
        assert scorer.score(JPEG) == live.scores[name]
        assert scorer.model is not None
        assert scorer.model.model_version == f"binary-{name}"


def test_a_call_that_runs_keeps_its_model(live: LiveLink) -> None:
    scorer = scorer_of(live)

    def swing_then_fetch() -> bytes:
        live.lead_to("second")
        assert scorer.score(JPEG) == live.scores["second"]
        return JPEG

    assert scorer.score(swing_then_fetch) == live.scores["first"]
    assert scorer.score(JPEG) == live.scores["second"]


def test_many_images_are_scored_by_one_model(live: LiveLink) -> None:
    scorer = scorer_of(live)

    def images() -> Iterator[bytes]:
        for number in range(40):
            if number == 5:
                live.lead_to("second")
                assert scorer.score(JPEG) == live.scores["second"]
            yield JPEG

    assert scores(scorer, images()) == [live.scores["first"]] * 40
    assert scores(scorer, iter([JPEG])) == [live.scores["second"]]


def test_no_score_carries_another_models_name_while_threads_score_and_links_swing(
    live: LiveLink,
) -> None:
    scorer = scorer_of(live)
    known = set(live.scores.values())

    def work(number: int) -> set[Score]:
        if number % 4 == 0:
            live_names = set(scores(scorer, iter([JPEG] * 8)))
            assert len(live_names) == 1
            return live_names
        return {scorer.score(JPEG)}

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(work, number) for number in range(200)]
        for number in range(40):
            live.lead_to("second" if number % 2 == 0 else "first")
            results[5 * number].result()
        found = set().union(*(result.result() for result in results))

    assert found == known
    assert scorer.score(JPEG) == live.scores["first"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param(damage, reason, id=name)
        for name, (damage, reason) in BROKEN.items()
        if name not in ("nothing named", "missing", "folder", "version")  # other variables
    ],
)
def test_a_model_that_cannot_be_used_does_not_replace_one_that_can(
    damage: object, reason: str, live: LiveLink, caplog: pytest.LogCaptureFixture
) -> None:
    scorer = scorer_of(live)
    write_model(live.folder / "broken", tiny_model())
    assert callable(damage)
    damage(live.folder / "broken")

    live.lead_to("broken")
    for _ in range(3):
        assert scorer.score(JPEG) == live.scores["first"]

    assert (scorer.path, scorer.fallback_reason) == ("onnx", None)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert re.search("^binary-first goes on, .*: .*" + reason, record.getMessage())
    live.lead_to("second")
    assert scorer.score(JPEG) == live.scores["second"]


def test_a_link_that_is_gone_leaves_the_model_that_was_loaded(live: LiveLink) -> None:
    scorer = scorer_of(live)
    live.link.unlink()

    assert scorer.score(JPEG) == live.scores["first"]


def test_a_scorer_from_before_the_first_promotion_takes_the_model_that_comes(
    live: LiveLink, caplog: pytest.LogCaptureFixture
) -> None:
    live.link.unlink()
    scorer = scorer_of(live)
    for _ in range(2):
        assert scorer.score(JPEG).model_version == "baseline-v1"
    assert scorer.fallback_reason is not None
    assert len(caplog.records) == 1

    live.lead_to("second")

    assert scorer.score(JPEG) == live.scores["second"]
    assert (scorer.path, scorer.fallback_reason) == ("onnx", None)


def test_files_that_are_exchanged_without_a_link_are_noticed(live: LiveLink) -> None:
    folder = live.folder / "copied"
    folder.mkdir()
    names = ("model.onnx", "model.meta.json")

    def copy(version: str) -> None:
        for name in names:
            (folder / f".{name}").write_bytes((live.folder / version / name).read_bytes())
        for name in names:
            (folder / f".{name}").replace(folder / name)

    copy("first")
    scorer = Scorer("onnx", model_path=folder / "model.onnx")
    assert scorer.score(JPEG) == live.scores["first"]

    copy("second")

    assert scorer.score(JPEG) == live.scores["second"]


def test_a_version_that_is_asked_for_is_kept(
    live: LiveLink, caplog: pytest.LogCaptureFixture
) -> None:
    scorer = scorer_of(live, model_version="binary-first")
    live.lead_to("second")

    assert scorer.score(JPEG) == live.scores["first"]
    assert scorer.score(JPEG) == live.scores["first"]
    (record,) = caplog.records
    assert "AI_MODEL_VERSION asks for binary-first" in record.getMessage()


def test_a_scorer_of_one_model_keeps_it(live: LiveLink) -> None:
    scorer = Scorer.of_model(live.path)
    live.lead_to("second")

    assert scorer.score(JPEG) == live.scores["first"]
