"""The Node lines of docs/runtime.md, run as they stand there, against the Python scorer.

No Node, or no way to its packages, fails these tests: parity that nobody measured is how the two
runtimes came to disagree before.
"""

import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms
from sklearn.datasets import load_sample_images

from webcam_ml.export._meta import OLDEST_RUNTIMES
from webcam_ml.scoring import (
    ImageError,
    OnnxModel,
    Score,
    Scorer,
    baseline_score,
    decode_image,
)
from webcam_ml_tests.integration.node_runtime import (
    DOCUMENT,
    NODE,
    documented_lines,
    install_packages,
    run,
)
from webcam_ml_tests.scoring import cases
from webcam_ml_tests.scoring.models import VERSION, describe, tiny_model, write_model
from webcam_ml_tests.scoring.pictures import (
    HTML,
    encoded,
    photograph,
    png_claiming,
    png_of_16_bits,
    with_orientation,
)
from webcam_ml_tests.stores.earlier import V0_1

PHOTO = photograph(60, 80)
ALPHA = np.arange(60 * 80).reshape(60, 80, 1).astype(np.uint8)


@cache
def real_photo(index: int) -> NDArray[np.uint8]:
    """A temple and a flower, [427, 640, 3]: the photographs that scikit-learn brings along."""
    image: NDArray[np.uint8] = load_sample_images().images[index]
    return image


def frames() -> list[Image.Image]:
    return [Image.fromarray(photograph(seed=seed)) for seed in range(3)]


def drawn() -> Image.Image:
    return Image.fromarray(PHOTO).quantize(16)


def grey_and_alpha() -> Image.Image:
    return Image.fromarray(np.concatenate([PHOTO[:, :, :1], ALPHA], axis=2), "LA")


def sixteen_bits(channels: int) -> NDArray[np.uint16]:
    return np.random.default_rng(5).integers(0, 2**16, (9, 7, channels), dtype=np.uint16)


def red_blue_swapped_profile() -> bytes:
    """A valid colour profile that whoever applies it would see at once."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return srgb.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


def with_wrong_checksum() -> bytearray:
    png = bytearray(encoded(PHOTO, "PNG"))
    png[-13] ^= 1
    return png


def spoilt(way: str) -> bytes:
    """A photograph of which a part is missing, with restart markers, so that no damage spreads."""
    jpeg = encoded(real_photo(0), restart_marker_rows=1)
    return cases.damage(jpeg, way, random.Random(3))


# Files are made when a test asks for them, not when pytest collects.
# Of these both decoders make the same pixels, to the bit.
ALIKE: dict[str, Callable[[], bytes]] = {
    "temple": lambda: encoded(real_photo(0), quality=90),
    "flower": lambda: encoded(real_photo(1), progressive=True),
    "portrait": lambda: encoded(real_photo(0)[:, :200], subsampling=1),
    "odd size": lambda: encoded(real_photo(1)[:301, :403], subsampling=2),
    "fine colour": lambda: encoded(real_photo(1), subsampling=0, quality=95),
    "tiny": lambda: encoded(PHOTO[:3, :5]),
    "one pixel": lambda: encoded(PHOTO[:1, :1]),
    "4k": lambda: encoded(Image.fromarray(real_photo(0)).resize((3840, 2160)), quality=70),
    "png": lambda: encoded(real_photo(0), "PNG"),
    "webp": lambda: encoded(real_photo(1), "WEBP"),
    "lossless webp": lambda: encoded(PHOTO, "WEBP", lossless=True),
    "grey": lambda: encoded(PHOTO[:, :, 0]),
    "grey png": lambda: encoded(PHOTO[:, :, 0], "PNG"),
    "1 bit": lambda: encoded(Image.fromarray(PHOTO[:, :, 0]).convert("1"), "PNG"),
    "palette": lambda: encoded(drawn(), "PNG", transparency=bytes(range(0, 160, 10))),
    "gif": lambda: encoded(drawn(), "GIF"),
    "animated gif": lambda: encoded(frames()[0], "GIF", save_all=True, append_images=frames()[1:]),
    "rgba": lambda: encoded(np.concatenate([PHOTO, ALPHA], axis=2), "PNG"),
    "la": lambda: encoded(grey_and_alpha(), "PNG"),
    "16-bit grey": lambda: png_of_16_bits(sixteen_bits(1), 0),
    "16-bit colour": lambda: png_of_16_bits(sixteen_bits(3), 2),
    "profile": lambda: encoded(real_photo(1), icc_profile=red_blue_swapped_profile()),
    **{
        f"orientation {orientation} {kind}": partial(with_orientation, PHOTO, orientation, kind)
        for orientation in range(1, 9)
        for kind in ("JPEG", "PNG", "WEBP")
    },
    **cases.ODD,
}

# Of these they do not, as docs/runtime.md says.
UNLIKE: dict[str, Callable[[], bytes]] = {
    "cmyk": lambda: encoded(Image.fromarray(real_photo(1)).convert("CMYK"), quality=95),
    "transparent gif": lambda: encoded(drawn(), "GIF", transparency=3),
}

BAD: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "page": lambda: HTML,
    "cut jpeg": lambda: encoded(real_photo(0))[:-3000],
    "cut png": lambda: encoded(real_photo(0), "PNG")[:-3000],
    "bomb": lambda: png_claiming(12_000, 9_000),
    "scans": partial(cases.many_scans, 2000),
    "critical chunk": lambda: bytes(with_wrong_checksum()),
    **{f"spoilt: {way}": partial(spoilt, way) for way in cases.WAYS},
}

WEBCAMS: list[dict[str, object]] = [
    {"viewCount": 5000, "rating": 4, "phase": "sunset"},
    {},
    {"viewCount": None, "rating": None, "phase": None},
    {"viewCount": -3, "rating": 0, "phase": "sunrise"},
    *({"viewCount": 7**power, "rating": power % 6, "phase": "sunset"} for power in range(12)),
]
# Exact ties (1/128 has seven decimals), ordinary values, the ends.
RAW = [
    0.0, 1.0, 1 / 128, 3 / 128, 5e-7, 0.4637284951, 0.9999995, 1 / 3,
    *(float(value) for value in np.random.default_rng(3).random(200, dtype=np.float32)),
]  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """What Node said, and what it was asked about."""

    folder: Path
    model_path: Path
    files: dict[str, Path]
    said: dict[str, Any]
    fallbacks: dict[str, dict[str, Any]]

    def of(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.said["pictures"][list(self.files).index(name)]
        return answer

    def pixels(self, name: str) -> NDArray[np.uint8]:
        raw = np.fromfile(self.folder / f"{list(self.files).index(name)}.raw", np.uint8)
        return raw.reshape(self.of(name)["dims"][1:])


def fallback_environments(folder: Path, model_path: Path) -> dict[str, dict[str, str]]:
    data = model_path.read_bytes()
    tampered = bytearray(data)
    tampered[len(data) // 2] ^= 1
    write_model(folder / "tampered", bytes(tampered), describe(data))
    write_model(folder / "alone", data).with_name("model.meta.json").unlink()
    failing = write_model(folder / "failing", tiny_model(needs_width=5000))
    other = write_model(
        folder / "other", tiny_model(), describe(tiny_model(bias=1).SerializeToString())
    )
    live = {"AI_SCORING_MODE": "onnx", "AI_ONNX_MODEL_PATH": str(model_path)}
    return {
        "nothing set": {},
        "mode only": {"AI_SCORING_MODE": "onnx"},
        "missing": live | {"AI_ONNX_MODEL_PATH": "nowhere/model.onnx"},
        "folder": live | {"AI_ONNX_MODEL_PATH": str(model_path.parent)},
        "tampered": live | {"AI_ONNX_MODEL_PATH": str(folder / "tampered" / "model.onnx")},
        "no meta": live | {"AI_ONNX_MODEL_PATH": str(folder / "alone" / "model.onnx")},
        "meta of another": live | {"AI_ONNX_MODEL_PATH": str(other)},
        "other version": live | {"AI_MODEL_VERSION": "binary-other"},
        "failing": live | {"AI_ONNX_MODEL_PATH": str(failing)},
        "unknown mode": {"AI_SCORING_MODE": "onxx"},
        "named": live | {"AI_MODEL_VERSION": VERSION},
        "relative": live | {"AI_ONNX_MODEL_PATH": "live/model.onnx"},
    }


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    install_packages()
    folder = tmp_path_factory.mktemp("node")
    (folder / "scorer.mjs").write_text(documented_lines())
    shutil.copy(NODE / "drive.mjs", folder)
    (folder / "node_modules").symlink_to(NODE / "node_modules")
    model_path = write_model(folder / "live", tiny_model())
    files = {}
    for name, make in (ALIKE | UNLIKE | BAD).items():
        files[name] = folder / re.sub(r"\W", "_", name)
        files[name].write_bytes(make())
    environments = fallback_environments(folder, model_path)
    questions = {
        "env": {"AI_SCORING_MODE": "onnx", "AI_ONNX_MODEL_PATH": str(model_path)},
        "pictures": [str(file) for file in files.values()],
        "fallbacks": list(environments.values()),
        "webcams": WEBCAMS,
        "raw": RAW,
    }
    said = json.loads(
        run(["node", "drive.mjs"], folder=folder, what="Node failed", stdin=json.dumps(questions))
    )
    return Answers(
        folder, model_path, files, said, dict(zip(environments, said["fallbacks"], strict=True))
    )


@pytest.mark.parametrize("name", ALIKE)
def test_node_sees_the_same_pixels_and_gives_the_same_score(answers: Answers, name: str) -> None:
    scorer = Scorer("onnx", model_path=answers.model_path)
    data = answers.files[name].read_bytes()

    np.testing.assert_array_equal(answers.pixels(name), decode_image(data))
    score, expected = answers.of(name)["score"], scorer.score(data).to_dict()
    assert list(score) == list(expected)
    assert score["modelVersion"] == VERSION
    assert score["rawScore"] == pytest.approx(expected["rawScore"], abs=1e-4)
    assert score["aiRating"] == pytest.approx(expected["aiRating"], abs=0.011)


@pytest.mark.parametrize("name", UNLIKE)
def test_where_the_decoders_differ_the_model_still_agrees_on_equal_pixels(
    answers: Answers, name: str
) -> None:
    node = answers.pixels(name)
    difference = np.abs(node.astype(int) - decode_image(answers.files[name].read_bytes()))
    assert difference.max() > 1, "the decoders agree by now: say so in docs/runtime.md"

    raw_score = OnnxModel.load(answers.model_path).score_array(node[None])[0]

    assert answers.of(name)["score"]["rawScore"] == pytest.approx(raw_score, abs=1e-4)


def test_cmyk_differs_by_no_more_than_the_document_says(answers: Answers) -> None:
    node = answers.pixels("cmyk").astype(int)
    difference = np.abs(node - decode_image(answers.files["cmyk"].read_bytes()))

    assert difference.mean() < 12
    assert difference.max() < 60


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_is_an_error_in_both(answers: Answers, name: str) -> None:
    assert answers.of(name)["error"]
    with pytest.raises(ImageError):
        decode_image(answers.files[name].read_bytes())


def test_the_baseline_is_the_same(answers: Answers) -> None:
    expected = [
        baseline_score(webcam.get("viewCount"), webcam.get("rating"), webcam.get("phase"))
        for webcam in WEBCAMS
    ]

    assert answers.said["baselines"] == [score.to_dict() for score in expected]


def test_rounding_is_the_same_to_the_last_digit(answers: Answers) -> None:
    assert answers.said["rounded"] == [Score.of(raw, model_version="m").to_dict() for raw in RAW]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mode only", "AI_ONNX_MODEL_PATH is not set"),
        ("missing", "no such file"),
        ("folder", "is not a regular file"),
        ("tampered", "not the model that model.meta.json describes"),
        ("no meta", "model.meta.json"),
        ("meta of another", "not the model that model.meta.json describes"),
        ("other version", f"AI_MODEL_VERSION is binary-other, the file {VERSION}"),
        ("failing", "out of data bounds"),
    ],
)
def test_a_fallback_says_why_once_and_carries_no_models_name(
    answers: Answers, name: str, reason: str
) -> None:
    expected = baseline_score(5000, 4, "sunset").to_dict()

    assert answers.fallbacks[name]["scores"] == [expected, expected]
    (warning,) = answers.fallbacks[name]["warnings"]
    assert re.search(f"^scoring falls back to baseline-v1: .*{reason}", warning, re.S)


def test_no_fallback_happens_without_a_reason(answers: Answers) -> None:
    baseline = answers.fallbacks["nothing set"]
    assert baseline["warnings"] == []
    assert [score["modelVersion"] for score in baseline["scores"]] == ["baseline-v1"] * 2
    for name in ("named", "relative"):
        assert answers.fallbacks[name]["warnings"] == []
        versions = [score["modelVersion"] for score in answers.fallbacks[name]["scores"]]
        assert versions == [VERSION] * 2


def test_an_unknown_mode_is_an_error_at_start(answers: Answers) -> None:
    assert "AI_SCORING_MODE is 'onxx'" in answers.fallbacks["unknown mode"]["error"]


READ_BY_THE_OLDEST = """
const ort = require('onnxruntime-node-oldest');
(async () => {
  const session = await ort.InferenceSession.create(process.argv[1]);
  const image = new ort.Tensor('uint8', new Uint8Array(48 * 64 * 3).fill(200), [1, 48, 64, 3]);
  process.stdout.write(String((await session.run({ image }, ['raw_score'])).raw_score.data[0]));
})();
"""


def test_the_oldest_runtime_that_the_document_names_reads_an_exported_model() -> None:
    install_packages()
    model_path = V0_1 / "artifacts" / "production" / "binary" / "model.onnx"
    said = run(
        ["node", "-e", READ_BY_THE_OLDEST, str(model_path)],
        folder=NODE,
        what="the oldest onnxruntime-node failed",
    )

    image = np.full((1, 48, 64, 3), 200, np.uint8)
    expected = OnnxModel.load(model_path).score_array(image)[0]
    assert float(said) == pytest.approx(expected, abs=1e-4)


def test_the_document_names_the_versions_that_are_tested() -> None:
    versions = json.loads((NODE / "package.json").read_text())["dependencies"]

    oldest = versions.pop("onnxruntime-node-oldest").removeprefix("npm:onnxruntime-node@")
    assert oldest.startswith(f"{OLDEST_RUNTIMES['onnxruntime-node']}.")
    for package, least in OLDEST_RUNTIMES.items():
        assert f"{package} {least}" in DOCUMENT.read_text()
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions.values())
    for package, version in versions.items():
        assert f"{package} {version}" in DOCUMENT.read_text()
