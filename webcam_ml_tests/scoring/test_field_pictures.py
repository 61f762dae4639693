"""Pictures that the field sends: what is whole is read, of what is not nobody makes a number."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from webcam_ml.limits import MAX_BYTES
from webcam_ml.scoring import ImageError, Scorer, decode_image
from webcam_ml_tests.scoring import cases
from webcam_ml_tests.scoring.pictures import encoded, photograph

WHOLE = decode_image(encoded(cases.PHOTO))


def reason_of(data: bytes) -> str | None:
    try:
        decode_image(data)
    except ImageError as error:
        return error.reason
    return None


@pytest.mark.parametrize("name", cases.WHOLE)
def test_harmless_files_are_read_as_browsers_read_them(name: str) -> None:
    np.testing.assert_array_equal(decode_image(cases.WHOLE[name]()), WHOLE)


def test_an_orientation_of_one_short_is_applied() -> None:
    turned = decode_image(cases.orientation("SHORT"))

    np.testing.assert_array_equal(turned, np.rot90(WHOLE, k=-1))


def test_exif_counts_in_front_of_a_pngs_pixels_and_not_behind() -> None:
    before, behind = cases.ODD["exif before the pixels"](), cases.ODD["exif behind the pixels"]()

    np.testing.assert_array_equal(decode_image(behind), cases.PHOTO)
    np.testing.assert_array_equal(decode_image(before), np.rot90(cases.PHOTO, k=-1))


def test_exif_counts_in_front_of_a_jpegs_first_scan_and_not_behind() -> None:
    behind = decode_image(cases.ODD["exif behind the first scan"]())

    np.testing.assert_array_equal(behind, decode_image(encoded(cases.PHOTO, progressive=True)))


@pytest.mark.parametrize("way", ["interlaced", "one after the other"])
def test_of_a_png_all_rows_must_have_come(way: str) -> None:
    interlaced = way == "interlaced"
    for height, width in [*np.ndindex(11, 11), (1, 500), (500, 1)]:
        if not height * width:
            continue
        for pixels in (photograph(height, width), photograph(height, width)[:, :, 0] > 127):
            rows = cases.rows_of(pixels, interlaced=interlaced)
            whole = cases.png_of_rows(pixels.shape, rows, interlaced=interlaced)
            grey = np.repeat(pixels[:, :, np.newaxis], 3, axis=2) * np.uint8(255)
            np.testing.assert_array_equal(decode_image(whole), pixels if pixels.ndim == 3 else grey)
            short = cases.png_of_rows(pixels.shape, rows[:-1], interlaced=interlaced)
            assert reason_of(short) == "damaged"


@pytest.mark.parametrize("scans", range(1, 10))
def test_a_progressive_file_whose_last_scans_are_missing_is_truncated(scans: int) -> None:
    jpeg = encoded(cases.PHOTO, progressive=True)
    assert reason_of(jpeg) is None
    assert reason_of(jpeg[: cases.behind_scans(jpeg, scans)] + cases.END) == "truncated"


@pytest.mark.parametrize("name", ["bad checksum of a text", "bad checksum of a gamma"])
def test_a_damaged_ancillary_chunk_changes_nothing(name: str) -> None:
    np.testing.assert_array_equal(decode_image(cases.ODD[name]()), cases.PHOTO)


def test_a_damaged_critical_chunk_is_damage() -> None:
    png = bytearray(encoded(cases.PHOTO, "PNG"))
    png[len(png) - 13] ^= 1  # the last byte of IDAT's checksum

    assert reason_of(bytes(png)) == "damaged"


@pytest.mark.parametrize(("left", "top"), [(0, 0), (20, 10), (100, 70)])
def test_a_small_first_frame_lies_on_a_black_canvas(left: int, top: int) -> None:
    frame = decode_image(cases.small_first_frame())[:120, :160]
    canvas = np.zeros((max(150, top + 120), max(200, left + 160), 3), np.uint8)
    canvas[top : top + 120, left : left + 160] = frame

    np.testing.assert_array_equal(decode_image(cases.small_first_frame(left, top)), canvas)


def test_damaged_jpegs_are_failures_and_each_cut_is_one() -> None:
    """What remains unnoticed is damage after which the file still is a valid one."""
    unnoticed: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for way, data, _ in cases.damaged(500):
        reason = reason_of(data)
        reasons[str(reason)] += 1
        unnoticed[way] += reason is None

    assert {way: unnoticed[way] for way in cases.CUTS} == dict.fromkeys(cases.CUTS, 0)
    assert unnoticed.total() <= 60  # 52 seen; docs/reliability.md says which
    assert set(reasons) <= {"None", "damaged", "truncated", "unsupported"}


def test_more_zeros_than_a_camera_pads_with_are_damage() -> None:
    assert reason_of(cases.padded(500)) == "damaged"
    assert reason_of(encoded(cases.PHOTO)[:-2] + b"abc" * 4 + cases.END) == "damaged"


@pytest.mark.parametrize(
    ("data", "says"),
    [(cases.grey_jpeg(12), "12-bit JPEG"), (cases.arithmetic_jpeg(), "arithmetic-coded")],
    ids=["12 bits", "arithmetic"],
)
def test_jpegs_of_other_kinds_are_unsupported(data: bytes, says: str) -> None:
    with pytest.raises(ImageError, match=says) as caught:
        decode_image(data)

    assert caught.value.reason == "unsupported"


def test_too_many_scans_are_refused_before_any_is_decoded() -> None:
    assert reason_of(cases.many_scans(2000)) == "too_many_scans"
    assert reason_of(encoded(cases.PHOTO, progressive=True)) is None


SCORE_ALL = """
import pathlib, sys
from webcam_ml.scoring import ImageError, Scorer
files = sorted(pathlib.Path(sys.argv[1]).iterdir())
said = zip(files, Scorer(threads=1).score_many(files))
print({file.name: one.reason if isinstance(one, ImageError) else "read" for file, one in said})
"""


def scored_in_a_process(pictures: Mapping[str, bytes], folder: Path, *, seconds: int) -> object:
    """What becomes of each picture; it fails if all together take longer."""
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
    ran = subprocess.run(
        [sys.executable, "-c", SCORE_ALL, str(folder)],
        capture_output=True, text=True, check=True, timeout=seconds,
    )  # fmt: skip
    return ast.literal_eval(ran.stdout)


def test_no_file_keeps_a_decoder_busy(tmp_path: Path) -> None:
    """Each of them took from half a minute to hours; all together may take one minute."""
    said = scored_in_a_process(cases.busy(), tmp_path, seconds=60)

    assert isinstance(said, dict)
    assert said.keys() == cases.busy().keys()


@pytest.mark.slow
def test_a_picture_at_all_limits_keeps_no_decoder_busy(tmp_path: Path) -> None:
    """All together may take a minute and a half; on a free core it is some seconds."""
    pictures = cases.at_the_limits()
    for data in pictures.values():
        assert len(data) <= MAX_BYTES

    said = scored_in_a_process(pictures, tmp_path, seconds=90)

    # The last scan over and over refines what is refined already, which libjpeg warns of.
    assert said == dict.fromkeys(pictures, "read") | {"as many scans as are read": "damaged"}


def test_errors_quote_nothing_of_a_file() -> None:
    for data in (b"root:$6$secret:19000:0:99999:7:::\n", b"\x7fELF\x02secret" + bytes(9)):
        with pytest.raises(ImageError) as caught:
            decode_image(data)
        assert "secret" not in str(caught.value)
        assert data[:4].hex(" ") not in str(caught.value)


def test_a_picture_larger_than_the_limit_is_not_read(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse.jpg"
    with sparse.open("wb") as file:
        file.truncate(40 * 2**30)

    with pytest.raises(ImageError, match=f"at most {MAX_BYTES:,}") as caught:
        Scorer().score(sparse)

    assert caught.value.reason == "too_many_bytes"


@pytest.mark.parametrize("path", ["/dev/zero", "/proc/kmsg", "/proc"])
def test_files_of_the_kernel_are_not_waited_for(path: str) -> None:
    with pytest.raises(ImageError) as caught:
        Scorer().score(path)

    assert caught.value.reason in ("unreadable", "empty")
