"""The one decode routine: every odd kind of file becomes plain RGB, or an error with a reason."""

import pickle
import struct
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, ImageOps

from webcam_ml.errors import WebcamMLError
from webcam_ml.scoring import (
    MAX_PIXELS,
    ImageError,
    ImageInfo,
    decode_image,
    decode_image_with_info,
)
from webcam_ml_tests.scoring.corpus import (
    KINDS,
    NO_PICTURES,
    SENSELESS_EXIF,
    XMP_ORIENTATION,
)
from webcam_ml_tests.scoring.pictures import (
    encoded,
    jpeg_with_app1,
    photograph,
    png_claiming,
    png_of_16_bits,
    with_orientation,
)

PHOTO = photograph()


def reason_of(data: bytes, **options: int) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(data, **options)
    assert isinstance(caught.value, WebcamMLError)
    assert str(caught.value)
    return caught.value.reason


def corner_colours(pixels: NDArray[np.uint8]) -> list[str]:
    names = {(255, 0, 0): "red", (0, 255, 0): "green", (0, 0, 255): "blue", (255,) * 3: "white"}
    corners = [pixels[0, 0], pixels[0, -1], pixels[-1, 0], pixels[-1, -1]]
    return [names[tuple(int(value) for value in corner)] for corner in corners]


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_lossless_formats_return_the_pixels_that_were_stored(kind: str) -> None:
    few_colours = PHOTO & 0xC0
    options = {"lossless": True} if kind == "WEBP" else {}

    pixels, info = decode_image_with_info(encoded(few_colours, kind, **options))

    np.testing.assert_array_equal(pixels, few_colours)
    assert info == ImageInfo(width=64, height=48, format=kind)


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 20}, {"optimize": True}],
    ids=str,
)
def test_jpegs_agree_with_pillow_to_the_bit(options: dict[str, object]) -> None:
    data = encoded(PHOTO, **options)

    np.testing.assert_array_equal(
        decode_image(data), np.asarray(Image.open(BytesIO(data)).convert("RGB"))
    )


def test_result_is_a_writable_contiguous_array_of_bytes() -> None:
    for orientation in range(1, 9):
        pixels = decode_image(with_orientation(PHOTO, orientation, "PNG"))
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        assert pixels.flags.writeable


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_agrees_with_pillow(kind: str, orientation: int) -> None:
    data = with_orientation(PHOTO, orientation, kind)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB"))

    pixels, info = decode_image_with_info(data)

    np.testing.assert_array_equal(pixels, expected)
    assert (info.height, info.width) == expected.shape[:2]


@pytest.mark.parametrize(
    ("orientation", "corners"),  # Exif 2.32: where the stored 0th row and 0th column are shown
    [
        (1, ["red", "green", "blue", "white"]),
        (2, ["green", "red", "white", "blue"]),
        (3, ["white", "blue", "green", "red"]),
        (4, ["blue", "white", "red", "green"]),
        (5, ["red", "blue", "green", "white"]),
        (6, ["blue", "red", "white", "green"]),
        (7, ["white", "green", "blue", "red"]),
        (8, ["green", "white", "red", "blue"]),
    ],
)
def test_orientation_puts_the_corners_where_the_standard_says(
    orientation: int, corners: list[str]
) -> None:
    stored = np.zeros((4, 6, 3), np.uint8)
    stored[0, 0, 0] = stored[0, -1, 1] = stored[-1, 0, 2] = 255
    stored[-1, -1] = 255

    assert corner_colours(decode_image(with_orientation(stored, orientation, "PNG"))) == corners


@pytest.mark.parametrize("block", SENSELESS_EXIF)
def test_a_senseless_exif_block_changes_nothing_and_warns_of_nothing(block: bytes) -> None:
    plain = encoded(PHOTO)

    np.testing.assert_array_equal(decode_image(jpeg_with_app1(plain, block)), decode_image(plain))


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_is_read_in_both_byte_orders(order: str) -> None:
    mark = b"II" if order == "<" else b"MM"
    block = mark + struct.pack(order + "HIHHHIHH", 42, 8, 1, 0x0112, 3, 1, 6, 0)
    plain = encoded(PHOTO)

    turned = decode_image(jpeg_with_app1(plain, b"Exif\x00\x00" + block))

    np.testing.assert_array_equal(turned, np.rot90(decode_image(plain), k=-1))


def test_orientation_in_xmp_is_ignored_as_browsers_and_libvips_do() -> None:
    plain = encoded(PHOTO)

    assert decode_image(jpeg_with_app1(plain, XMP_ORIENTATION)).shape == PHOTO.shape


def test_cmyk_jpeg_is_the_product_of_its_inks_and_black() -> None:
    data = encoded(Image.fromarray(PHOTO).convert("CMYK"), quality=95)
    stored = np.asarray(Image.open(BytesIO(data))).astype(np.float64)
    assert stored.shape[2] == 4

    expected = (255 - stored[:, :, :3]) * (255 - stored[:, :, 3:]) / 255

    assert np.abs(decode_image(data) - expected).max() <= 1


def test_grey_images_have_three_equal_channels() -> None:
    grey = PHOTO[:, :, 0]
    for data in (encoded(grey, "PNG"), encoded(grey), encoded(grey, "GIF")):
        pixels = decode_image(data)
        assert pixels.shape == (48, 64, 3)
        assert (pixels == pixels[:, :, :1]).all()
    np.testing.assert_array_equal(decode_image(encoded(grey, "PNG"))[:, :, 1], grey)


def test_black_and_white_images_are_0_and_255() -> None:
    bits = Image.fromarray(PHOTO[:, :, 0]).convert("1")

    pixels = decode_image(encoded(bits, "PNG"))

    np.testing.assert_array_equal(pixels[:, :, 0], np.asarray(bits) * np.uint8(255))


def test_palette_images_get_their_colours() -> None:
    drawn = Image.fromarray(PHOTO).quantize(16)

    np.testing.assert_array_equal(
        decode_image(encoded(drawn, "PNG")), np.asarray(drawn.convert("RGB"))
    )


@pytest.mark.parametrize("transparent", [3, bytes(range(0, 160, 10))], ids=["index", "table"])
@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_entry_keeps_its_colour(kind: str, transparent: int | bytes) -> None:
    if kind == "GIF" and isinstance(transparent, bytes):
        transparent = 0
    drawn = Image.fromarray(PHOTO).quantize(16)

    data = encoded(drawn, kind, transparency=transparent)

    np.testing.assert_array_equal(decode_image(data), np.asarray(drawn.convert("RGB")))


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True})]
)
def test_alpha_is_dropped_and_blends_nothing(kind: str, options: dict[str, object]) -> None:
    alpha = np.arange(48 * 64, dtype=np.uint32).reshape(48, 64, 1).astype(np.uint8)

    data = encoded(np.concatenate([PHOTO, alpha], axis=2), kind, **options)

    np.testing.assert_array_equal(decode_image(data), PHOTO)


def test_grey_with_alpha_keeps_the_grey() -> None:
    both = np.stack([PHOTO[:, :, 0], PHOTO[:, :, 1]], axis=2)

    pixels = decode_image(encoded(Image.fromarray(both, "LA"), "PNG"))

    np.testing.assert_array_equal(pixels, np.repeat(both[:, :, :1], 3, axis=2))


@pytest.mark.parametrize(
    ("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)], ids=["L", "RGB", "LA", "RGBA"]
)
def test_sixteen_bit_samples_keep_their_high_byte(colour_type: int, channels: int) -> None:
    samples = np.random.default_rng(5).integers(0, 2**16, (9, 7, channels), dtype=np.uint16)
    colours = samples[:, :, :3] if channels >= 3 else np.repeat(samples[:, :, :1], 3, axis=2)

    pixels = decode_image(png_of_16_bits(samples, colour_type))

    np.testing.assert_array_equal(pixels, colours >> 8)


def test_a_colour_profile_changes_no_pixel() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()

    np.testing.assert_array_equal(
        decode_image(encoded(PHOTO, icc_profile=profile)), decode_image(encoded(PHOTO))
    )


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_counts(kind: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "lime")]
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    with Image.open(BytesIO(data)) as animated:
        assert getattr(animated, "n_frames", 1) == 3

    np.testing.assert_array_equal(decode_image(data), np.asarray(frames[0]))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_one_pixel_is_an_image(kind: str) -> None:
    assert decode_image(encoded(np.full((1, 1, 3), 128, np.uint8), kind)).shape == (1, 1, 3)


def test_one_tall_column_is_an_image() -> None:
    column = photograph(height=70_000, width=1)

    np.testing.assert_array_equal(decode_image(encoded(column, "PNG")), column)


@pytest.mark.parametrize(
    ("data", "reason", "says"),
    NO_PICTURES,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_image_is_named(data: bytes, reason: str, says: str) -> None:
    with pytest.raises(ImageError, match=says) as caught:
        decode_image(data)

    assert caught.value.reason == reason


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_file_that_ends_early_is_truncated_wherever_it_ends(
    kind: str, options: dict[str, object]
) -> None:
    data = encoded(PHOTO, kind, **options)

    reasons = {reason_of(data[:length]) for length in range(len(data) // 3, len(data) - 30, 37)}

    assert reasons == {"truncated"}


def test_a_jpeg_that_ends_in_its_header_is_truncated() -> None:
    data = encoded(PHOTO)

    reasons = {reason_of(data[:length]) for length in range(150, data.index(b"\xff\xda") + 20)}

    assert reasons == {"truncated"}


def test_a_jpeg_without_its_last_byte_is_truncated() -> None:
    assert reason_of(encoded(PHOTO)[:-1]) == "truncated"


@pytest.mark.parametrize("size", [(12_000, 9_000), (8_000, 5_000), (60_000, 60_000)])
def test_too_many_pixels_are_refused_before_any_is_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=f"{size[0]}×{size[1]}") as caught:
        decode_image(png_claiming(*size))

    assert caught.value.reason == "too_many_pixels"


def test_an_honest_picture_of_12000_by_9000_is_refused() -> None:
    data = encoded(Image.new("L", (12_000, 9_000)), "PNG", compress_level=1)

    assert reason_of(data) == "too_many_pixels"


def test_4k_is_decoded() -> None:
    data = encoded(Image.new("RGB", (3840, 2160), "orange"), quality=50)

    assert decode_image(data).shape == (2160, 3840, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_the_limit_is_inclusive(kind: str) -> None:
    data = encoded(PHOTO, kind)

    assert decode_image(data, max_pixels=48 * 64).shape == (48, 64, 3)
    assert reason_of(data, max_pixels=48 * 64 - 1) == "too_many_pixels"


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"icc_profile": b"p" * 128}], ids=str)
def test_webp_headers_are_measured_before_the_canvas_is_allocated(
    options: dict[str, object],
) -> None:
    """Lossy, lossless and extended files keep their size in three places."""
    data = encoded(photograph(height=33, width=57), "WEBP", **options)

    decode_image(data, max_pixels=33 * 57)
    with pytest.raises(ImageError, match="57×33"):
        decode_image(data, max_pixels=33 * 57 - 1)


def test_a_large_file_below_a_raised_limit_warns_of_nothing() -> None:
    """Pillow's own limit lies at 89 megapixels and is a global; 90 are fine if the caller says."""
    data = encoded(Image.new("L", (30_000, 3_000)), "PNG", compress_level=1)

    assert decode_image(data, max_pixels=90_000_000).shape == (3_000, 30_000, 3)


def test_pillow_is_left_as_it_was() -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))

    decode_image(encoded(PHOTO))
    reason_of(png_claiming(60_000, 60_000))

    assert before == (
        Image.MAX_IMAGE_PIXELS,
        ImageFile.LOAD_TRUNCATED_IMAGES,
        list(warnings.filters),
    )


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_is_an_image_error_or_an_image_and_nothing_else(data: st.DataObject) -> None:
    file = bytearray(
        data.draw(
            st.sampled_from(
                [
                    encoded(PHOTO),
                    encoded(PHOTO, progressive=True),
                    encoded(PHOTO, "PNG"),
                    encoded(PHOTO, "GIF"),
                    encoded(PHOTO, "WEBP"),
                    with_orientation(PHOTO, 6, "JPEG"),
                    encoded(Image.fromarray(PHOTO).quantize(16), "PNG", transparency=3),
                ]
            )
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(file) - 1))
        file[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))

    try:
        pixels = decode_image(bytes(file))
    except ImageError:
        return
    assert pixels.ndim == 3
    assert pixels.size <= 3 * MAX_PIXELS


def test_threads_decode_the_same_pixels() -> None:
    files = [encoded(photograph(seed=seed), progressive=bool(seed % 2)) for seed in range(8)]
    alone = [decode_image(file) for file in files]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(decode_image, files * 16))

    for index, pixels in enumerate(together):
        np.testing.assert_array_equal(pixels, alone[index % 8])


def test_an_image_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(ImageError("truncated", "the file ends")))  # noqa: S301 - our own

    assert (error.reason, str(error)) == ("truncated", "the file ends")


def test_a_4k_picture_needs_little_more_than_pillow_and_the_result(tmp_path: Path) -> None:
    """33 MB in Pillow and 25 MB as an array; a whole-image conversion would add 50 more."""
    file = tmp_path / "4k.jpg"
    file.write_bytes(encoded(Image.new("RGB", (3840, 2160), "teal")))
    script = f"""
import resource
from webcam_ml.scoring import decode_image
data = open({str(file)!r}, "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode_image(data)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert int(ran.stdout) / 1024 < 75
