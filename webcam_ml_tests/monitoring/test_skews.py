"""What stands for an application's mistakes does to a picture what such an application does."""

import io

import numpy as np
import pytest
from PIL import Image

from webcam_ml.features import get_backbone
from webcam_ml.monitoring import SKEWS, explain, skewed
from webcam_ml.scoring import decode_image

MEAN, STD = get_backbone("resnet18").mean, get_backbone("resnet18").std


def photograph(orientation: int = 1, size: tuple[int, int] = (64, 40)) -> bytes:
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    pixels = np.stack([4 * x, 6 * y, x + y], axis=-1).clip(0, 255).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=98, subsampling=0, exif=exif)
    return buffer.getvalue()


def prepared(content: bytes, *skew: str) -> np.ndarray:
    pixels = decode_image(content)
    return skewed(pixels, content, mean=MEAN, std=STD)[skew]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_ignored_orientation_gives_the_picture_as_it_lies_in_its_file(orientation: int) -> None:
    content = photograph(orientation)
    with Image.open(io.BytesIO(content)) as picture:
        lying = np.asarray(picture.convert("RGB")).astype(int)
    ignored = prepared(content, "EXIF orientation ignored").astype(int)
    assert ignored.shape == lying.shape
    assert np.abs(ignored - lying).max() <= 3  # two decoders


def test_a_missing_normalisation_comes_out_of_the_graph_as_numbers_from_0_to_1() -> None:
    content = photograph()
    normalised = (prepared(content, "no normalisation") / 255 - MEAN) / STD
    assert np.abs(normalised - decode_image(content) / 255).max() < 0.5 / 255 / min(STD) + 1e-9


def test_crop_letterbox_and_channels() -> None:
    content = photograph()
    pixels = decode_image(content)
    assert np.array_equal(prepared(content, "crop to cover"), pixels[:, 12:52])
    boxed = prepared(content, "letterbox")
    assert boxed.shape == (64, 64, 3)
    assert np.array_equal(boxed[12:52], pixels)
    assert not boxed[:12].any()
    assert np.array_equal(prepared(content, "BGR"), pixels[..., ::-1])
    both = prepared(content, "crop to cover", "BGR")
    assert np.array_equal(both, pixels[:, 12:52, ::-1])


def test_a_crop_by_lanczos_is_what_sharp_does_if_it_is_told_nothing() -> None:
    """It enlarges to cover the square, and then crops."""
    content = photograph()
    larger = Image.fromarray(decode_image(content)).resize((358, 224), Image.Resampling.LANCZOS)
    covered = np.asarray(larger.crop((67, 0, 291, 224))).astype(int)
    ours = prepared(content, "crop to cover", "resize by Lanczos").astype(int)
    assert np.abs(ours - covered).mean() < 0.5  # they differ in what they see beyond the edge
    assert ("resize by Lanczos",) not in SKEWS


def test_no_skew_has_two_parts_of_one_step_and_each_is_there_once() -> None:
    assert len(set(SKEWS)) == len(SKEWS)
    assert ("crop to cover", "letterbox") not in SKEWS
    assert set(skewed(decode_image(photograph()), photograph(), mean=MEAN, std=STD)) == set(SKEWS)


def test_of_two_that_explain_alike_the_simpler_is_named() -> None:
    random = np.random.default_rng(0)
    own, stored = random.uniform(0, 1, 24), random.uniform(0, 1, 24)
    guesses = {("a", "b"): stored + 1e-5, ("a",): stored + 2e-5, ("c",): random.uniform(0, 1, 24)}
    found = explain(stored, own, guesses)
    assert found is not None
    assert found.name == ("a",)
    assert explain(stored, own, {("c",): guesses["c",]}) is None
    assert explain(own, own, guesses) is None
