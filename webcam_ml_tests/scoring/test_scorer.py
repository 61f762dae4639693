"""Who spoke: the model under its name, the baseline under its own, and an error for a bad image."""

import logging
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webcam_ml.errors import WebcamMLError
from webcam_ml.scoring import (
    ImageError,
    ImageInfo,
    OnnxModel,
    Score,
    ScoredImage,
    Scorer,
    WebcamMetadata,
    baseline_score,
    decode_image,
)
from webcam_ml_tests.scoring.broken import BROKEN
from webcam_ml_tests.scoring.models import VERSION, tiny_model, write_model
from webcam_ml_tests.scoring.pictures import HTML, encoded, photograph, png_claiming

JPEG = encoded(photograph())
SUNSET = WebcamMetadata(view_count=5000, rating=4, phase="sunset")


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    return write_model(tmp_path / "live", tiny_model())


def scored(result: ScoredImage | ImageError) -> ScoredImage:
    assert isinstance(result, ScoredImage), result
    return result


def test_the_model_speaks_under_its_verified_name(model_path: Path) -> None:
    expected = float(OnnxModel.load(model_path).score_array(decode_image(JPEG)[None])[0])

    scorer = Scorer("onnx", model_path=model_path)

    assert scorer.score(JPEG) == Score.of(expected, model_version=VERSION)
    assert scorer.score(JPEG, webcam=SUNSET) == scorer.score(JPEG)
    assert (scorer.path, scorer.fallback_reason) == ("onnx", None)


def test_bytes_path_text_pixels_and_a_fetch_score_alike(model_path: Path, tmp_path: Path) -> None:
    file = tmp_path / "picture.jpg"
    file.write_bytes(JPEG)
    scorer = Scorer("onnx", model_path=model_path)

    scores = {
        scorer.score(image) for image in (JPEG, file, str(file), decode_image(JPEG), lambda: JPEG)
    }

    assert len(scores) == 1


def test_many_images_give_the_scores_of_each_in_order(model_path: Path) -> None:
    scorer = Scorer("onnx", model_path=model_path, threads=3)
    images = [
        encoded(photograph(20 + 7 * (i % 5), 30 + i, seed=i), "JPEG" if i % 2 else "PNG")
        for i in range(40)
    ]

    together = [scored(result) for result in scorer.score_many(images)]

    assert [result.score for result in together] == [scorer.score(image) for image in images]
    assert together[3].info == ImageInfo(width=33, height=41, format="JPEG")
    assert together[4].info == ImageInfo(width=34, height=48, format="PNG")
    assert len({result.score.raw_score for result in together}) > 30


def test_a_batch_of_pixels_is_scored_picture_by_picture(model_path: Path) -> None:
    batch = np.stack([photograph(seed=seed) for seed in range(5)])
    scorer = Scorer("onnx", model_path=model_path)

    results = [scored(result) for result in scorer.score_many(batch)]

    raw_scores = OnnxModel.load(model_path).score_array(batch)
    assert [result.score for result in results] == [
        Score.of(float(raw), model_version=VERSION) for raw in raw_scores
    ]
    assert results[0].info is None


@pytest.mark.parametrize("mode", ["onnx", "baseline"])
def test_a_bad_image_is_its_own_error_and_the_others_go_on(
    mode: str, model_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def dead_host() -> bytes:
        raise WebcamMLError("cams.example answered 404")

    bad = {
        b"": "empty",
        HTML: "not_an_image",
        JPEG[:-200]: "truncated",
        png_claiming(12_000, 9_000): "too_many_pixels",
        tmp_path / "missing.jpg": "unreadable",
        tmp_path: "unreadable",
        "/dev/zero": "unreadable",
        dead_host: "unreadable",
    }
    scorer = Scorer(mode, model_path=model_path)
    images = [JPEG, *bad, JPEG, np.zeros((1, 3, 8, 8), np.float32), np.zeros((0, 8, 3), np.uint8)]

    first, *results, last, floats, nothing = scorer.score_many(images)

    for result, (image, reason) in zip(results, bad.items(), strict=True):
        assert isinstance(result, ImageError), image
        assert result.reason == reason
        if not callable(image):
            with pytest.raises(ImageError, match=re.escape(str(result))):
                scorer.score(image)
    assert isinstance(floats, ImageError)
    assert floats.reason == "unsupported"
    assert isinstance(nothing, ImageError)
    assert scored(first) == scored(last)
    assert scorer.fallback_reason is None
    assert not caplog.records


def test_the_limit_on_pixels_is_the_callers(model_path: Path) -> None:
    scorer = Scorer("onnx", model_path=model_path, max_pixels=48 * 64 - 1)

    for image in (JPEG, photograph()):
        with pytest.raises(ImageError, match="64×48"):
            scorer.score(image)


def test_a_broken_loader_is_not_an_image_error(model_path: Path) -> None:
    def broken() -> bytes:
        raise KeyError("a programming error")

    with pytest.raises(KeyError):
        list(Scorer("onnx", model_path=model_path).score_many([JPEG, broken, JPEG]))


def test_baseline_is_the_default_and_needs_no_model() -> None:
    scorer = Scorer.from_env({})

    assert scorer.score(JPEG) == baseline_score()
    assert scorer.score(JPEG, webcam=SUNSET) == baseline_score(5000, 4, "sunset")
    assert (scorer.path, scorer.fallback_reason, scorer.model) == ("baseline", None, None)


def test_baseline_takes_the_metadata_of_each_image() -> None:
    webcams = [SUNSET, None, WebcamMetadata(rating=1)]

    results = Scorer().score_many([JPEG] * 3, webcams=webcams)

    assert [scored(result).score for result in results] == [
        baseline_score(5000, 4, "sunset"),
        baseline_score(),
        baseline_score(rating=1),
    ]


def test_metadata_for_another_number_of_images_is_a_callers_mistake() -> None:
    with pytest.raises(ValueError, match="shorter"):
        list(Scorer().score_many([JPEG] * 3, webcams=[SUNSET]))


@pytest.mark.parametrize("mode", ["ONNX", "model", "onnx ", "baseline-v1", "0"])
def test_an_unknown_mode_is_an_error_at_start(mode: str) -> None:
    with pytest.raises(WebcamMLError, match=r"AI_SCORING_MODE is .* baseline or onnx"):
        Scorer.from_env({"AI_SCORING_MODE": mode})


@pytest.mark.parametrize("threads", [0, -2])
def test_no_threads_are_a_callers_mistake(threads: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Scorer(threads=threads)


def test_the_environment_of_the_process_is_the_default(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_SCORING_MODE", "onnx")
    monkeypatch.setenv("AI_ONNX_MODEL_PATH", str(model_path))
    monkeypatch.delenv("AI_MODEL_VERSION", raising=False)

    assert Scorer.from_env().score(JPEG).model_version == VERSION

    monkeypatch.setenv("AI_SCORING_MODE", "baseline")
    assert Scorer.from_env().score(JPEG).model_version == "baseline-v1"


def test_a_relative_model_path_starts_at_the_workspace(
    model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model_path.parent.parent)
    relative = {"AI_SCORING_MODE": "onnx", "AI_ONNX_MODEL_PATH": "live/model.onnx"}

    assert Scorer.from_env(relative).path == "onnx"
    assert Scorer.from_env(relative | {"AI_ONNX_MODEL_PATH": str(model_path)}).path == "onnx"
    monkeypatch.chdir("/")
    assert Scorer.from_env(relative).path == "baseline"


def test_a_variable_that_is_set_to_nothing_counts_as_unset(model_path: Path) -> None:
    nothing = {"AI_SCORING_MODE": "", "AI_MODEL_VERSION": "", "AI_ONNX_MODEL_PATH": ""}

    assert Scorer.from_env(nothing).path == "baseline"
    named = {"AI_SCORING_MODE": "onnx", "AI_ONNX_MODEL_PATH": str(model_path)}
    assert Scorer.from_env(nothing | named).path == "onnx"


@pytest.mark.parametrize(("version", "path"), [(VERSION, "onnx"), ("binary-other", "baseline")])
def test_the_model_must_be_the_one_that_the_environment_names(
    version: str, path: str, model_path: Path
) -> None:
    scorer = Scorer("onnx", model_path=model_path, model_version=version)

    assert scorer.path == path
    if path == "baseline":
        assert scorer.fallback_reason is not None
        assert version in scorer.fallback_reason
        assert VERSION in scorer.fallback_reason


@pytest.mark.parametrize(
    ("damage", "reason"),
    BROKEN.values(),
    ids=BROKEN,
)
def test_every_fallback_says_why_once_and_never_carries_the_models_name(
    damage: Callable[[Path], dict[str, str]],
    reason: str,
    model_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    environ = {
        "AI_SCORING_MODE": "onnx",
        "AI_ONNX_MODEL_PATH": str(model_path),
        "AI_MODEL_VERSION": VERSION,
    } | damage(model_path.parent)
    scorer = Scorer.from_env(environ)

    results = [scored(result) for result in scorer.score_many([JPEG] * 9, webcams=[SUNSET] * 9)]

    for result in results:
        assert result.score == baseline_score(5000, 4, "sunset")
        assert result.path == "baseline"
        assert re.search(reason, result.fallback_reason or "")
    assert scorer.path == "baseline"
    assert re.search(reason, scorer.fallback_reason or "")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert re.search("falls back to baseline-v1: .*" + reason, record.getMessage())


def test_a_model_that_fails_on_one_picture_speaks_again_for_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scorer = Scorer("onnx", model_path=write_model(tmp_path, tiny_model(needs_width=40)), threads=1)
    narrow = [encoded(photograph(width=width), "PNG") for width in (20, 30)]
    wide = encoded(photograph(width=64), "PNG")

    results = [scored(result) for result in scorer.score_many([wide, *narrow, wide, narrow[0]])]

    assert [result.path for result in results] == ["onnx", *["baseline"] * 2, "onnx", "baseline"]
    assert [result.score.model_version for result in results] == [
        VERSION, "baseline-v1", "baseline-v1", VERSION, "baseline-v1",
    ]  # fmt: skip
    assert results[3].fallback_reason is None
    assert scorer.path == "baseline"
    scorer.score(wide)
    assert (scorer.path, scorer.fallback_reason) == ("onnx", None)
    assert len(caplog.records) == 1, "the sizes in the message are no cause of their own"


def test_threads_share_one_scorer(model_path: Path) -> None:
    scorer = Scorer("onnx", model_path=model_path)
    images = [encoded(photograph(seed=seed)) for seed in range(6)]
    alone = [scorer.score(image) for image in images]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(scorer.score, images * 20))

    assert together == alone * 20


def test_images_are_taken_only_as_the_work_proceeds() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield JPEG

    results = Scorer(threads=2).score_many(endless())
    for _ in range(20):
        next(results)
    results.close()

    assert taken < 40


@given(threads=st.integers(1, 5), count=st.integers(0, 20))
def test_any_number_of_threads_keeps_the_order(threads: int, count: int) -> None:
    webcams = [WebcamMetadata(view_count=views * views) for views in range(count)]

    results = Scorer(threads=threads).score_many([JPEG] * count, webcams=webcams)

    assert [scored(result).score for result in results] == [
        baseline_score(webcam.view_count) for webcam in webcams
    ]
