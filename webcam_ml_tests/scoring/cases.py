"""Pictures as the field sends them: whole, damaged, and made to keep a decoder busy."""

import random
import re
import struct
import zlib
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from webcam_ml.limits import MAX_BYTES
from webcam_ml.scoring._jpeg import MAX_SCANS
from webcam_ml_tests.scoring.pictures import encoded, jpeg_with_app1, photograph, png_chunk

PHOTO = photograph(120, 160)
END = b"\xff\xd9"
TAG = 0x0112
PNG_HEADER = 33  # signature and IHDR
ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
GIF_FRAME = b",\x00\x00\x00\x00"


def orientation(kind: str, count: int = 1) -> bytes:
    """A JPEG that asks to be turned by a quarter, in a tag of this type and count."""
    number, form = {"BYTE": (1, "BBBB"), "SHORT": (3, "HH"), "LONG": (4, "I")}[kind]
    values = (6,) + (0,) * (len(form) - 1)
    block = b"II" + struct.pack("<HIHHHI" + form, 42, 8, 1, TAG, number, count, *values)
    return jpeg_with_app1(encoded(PHOTO), b"Exif\x00\x00" + block)


def with_chunk(chunk: bytes, *, behind_pixels: bool = False) -> bytes:
    png = encoded(PHOTO, "PNG")
    at = len(png) - 12 if behind_pixels else PNG_HEADER
    return png[:at] + chunk + png[at:]


def png_of_rows(shape: tuple[int, ...], rows: bytes, *, interlaced: bool = False) -> bytes:
    """A PNG of eight bits, RGB or grey, or of one bit where there is no third number, grey."""
    height, width, *colours = shape
    depth, colour = (8, 2) if colours else (1, 0)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def rows_of(pixels: NDArray[np.uint8] | NDArray[np.bool_], *, interlaced: bool = False) -> bytes:
    """Their rows, each with the byte of its filter, those of all passes in turn."""
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    parts = (pixels[top::down, left::across] for left, top, across, down in passes)
    packed = (part if part.ndim == 3 else np.packbits(part, axis=1) for part in parts if part.size)
    return b"".join(b"\x00" + row.tobytes() for part in packed for row in part)


def interlaced_png(pixels: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    return png_of_rows(pixels.shape, rows_of(pixels, interlaced=True), interlaced=True)


def too_few_rows(*, interlaced: bool = False) -> bytes:
    """A PNG whose data are whole and intact, and end one byte before the last row does."""
    rows = rows_of(PHOTO, interlaced=interlaced)[:-1]
    return png_of_rows(PHOTO.shape, rows, interlaced=interlaced)


def behind_scans(jpeg: bytes, scans: int) -> int:
    """Where the scan with this number ends, counted from 1."""
    starts = [found.start() for found in re.finditer(rb"\xff\xda", jpeg)]
    end = re.compile(rb"\xff[^\x00\xd0-\xd7]", re.DOTALL).search(jpeg, starts[scans - 1] + 2)
    assert end is not None
    return end.start()


def exif_behind_a_scan() -> bytes:
    jpeg = encoded(PHOTO, progressive=True)
    asks = orientation("SHORT")
    app1 = asks[2 : 4 + int.from_bytes(asks[4:6])]
    at = behind_scans(jpeg, 1)
    return jpeg[:at] + app1 + jpeg[at:]


def exif_chunk() -> bytes:
    content = b"II" + struct.pack("<HIHHHIHH", 42, 8, 1, TAG, 3, 1, 6, 0)
    return png_chunk(b"eXIf", content)


def small_first_frame(left: int = 0, top: int = 0) -> bytes:
    gif = encoded(Image.fromarray(PHOTO).quantize(16), "GIF")
    frame = gif.index(GIF_FRAME)
    head = gif[:6] + struct.pack("<HH", 200, 150) + gif[10:frame]
    return head + b"," + struct.pack("<HH", left, top) + gif[frame + 5 :]


def padded(count: int) -> bytes:
    return encoded(PHOTO)[:-2] + bytes(count) + END


def many_scans(scans: int) -> bytes:
    """A progressive file with the last of its scans repeated."""
    jpeg = encoded(PHOTO, progressive=True)
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    return jpeg[:-2] + last * scans + END


# What is whole, and must stay a picture with the pixels of `encoded(PHOTO)`.
WHOLE: dict[str, Callable[[], bytes]] = {
    "two end markers": lambda: encoded(PHOTO) + END,
    "trailing bytes": lambda: encoded(PHOTO) + b"trailing" * 100,
    "another picture behind": lambda: encoded(PHOTO) + encoded(PHOTO[::-1]),
    "fill bytes": lambda: encoded(PHOTO)[:2] + b"\xff" * 1000 + encoded(PHOTO)[2:],
    "zeros at the end": partial(padded, 6),
    "orientation as long": partial(orientation, "LONG"),
    "orientation as byte": partial(orientation, "BYTE"),
    "orientation twice": partial(orientation, "SHORT", 2),
}

# Pictures that both decoders read, with equal pixels; the rule is the browsers'.
ODD: dict[str, Callable[[], bytes]] = {
    **{name: make for name, make in WHOLE.items() if name != "zeros at the end"},
    "orientation as short": partial(orientation, "SHORT"),
    "exif behind the first scan": exif_behind_a_scan,
    "interlaced": lambda: interlaced_png(PHOTO),
    "interlaced, 1 bit": lambda: interlaced_png(PHOTO[:13, :, 0] > 127),
    "too many rows": lambda: png_of_rows(PHOTO.shape, rows_of(PHOTO) + bytes(481)),
    "exif behind the pixels": lambda: with_chunk(exif_chunk(), behind_pixels=True),
    "exif before the pixels": lambda: with_chunk(exif_chunk()),
    "bad checksum of a text": lambda: with_chunk(png_chunk(b"tEXt", b"a\x00b")[:-4] + bytes(4)),
    "bad checksum of a gamma": lambda: with_chunk(png_chunk(b"gAMA", bytes(4))[:-4] + b"oops"),
    "small first frame": small_first_frame,
    "small first frame elsewhere": partial(small_first_frame, 20, 10),
    "first frame beyond the canvas": partial(small_first_frame, 100, 70),
    "restart markers": lambda: encoded(PHOTO, restart_marker_rows=1),
}


def damage(jpeg: bytes, way: str, chance: random.Random) -> bytes:
    """Spoil the last scan's data in one of seven ways, or leave out the last scans."""
    if way == BETWEEN_SCANS:
        return jpeg[: behind_scans(jpeg, chance.randrange(1, jpeg.count(b"\xff\xda")))] + END
    start, stop = jpeg.rindex(b"\xff\xda") + 20, len(jpeg) - 2
    at = chance.randrange(start, stop - 60)
    match way:
        case "cut":
            return jpeg[:at]
        case "cut, closed by an end marker":
            return jpeg[:at] + END
        case "cut at a restart marker, closed by an end marker":
            marks = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", jpeg[start:stop])]
            return jpeg[: start + chance.choice(marks[:-1])] + END
        case "bytes changed":
            length = chance.randrange(1, 40)
            return jpeg[:at] + chance.randbytes(length) + jpeg[at + length :]
        case "bytes missing":
            return jpeg[:at] + jpeg[at + chance.randrange(1, 50) :]
        case "bytes zeroed":
            length = chance.randrange(20, 60)
            return jpeg[:at] + bytes(length) + jpeg[at + length :]
        case "bytes inserted":
            return jpeg[:at] + chance.randbytes(chance.randrange(1, 200)) + jpeg[at:]
    raise ValueError(way)


BETWEEN_SCANS = "cut behind a scan, closed by an end marker"
CUTS = (
    "cut", "cut, closed by an end marker", "cut at a restart marker, closed by an end marker",
    BETWEEN_SCANS,
)  # fmt: skip
WAYS = (*CUTS, "bytes changed", "bytes missing", "bytes zeroed", "bytes inserted")


def damaged(count: int) -> list[tuple[str, bytes, bytes]]:
    """Make damaged JPEGs and what they were, each way in turn, of every kind that cameras send."""
    chance = random.Random(13)
    kinds: list[dict[str, object]] = [
        {"restart_marker_rows": 1},
        {"restart_marker_blocks": 7, "subsampling": 1},
        {"restart_marker_rows": 1, "quality": 95, "subsampling": 0},
        {"restart_marker_blocks": 5, "optimize": True},
    ]
    free: list[dict[str, object]] = [{}, {"subsampling": 0}, {"progressive": True}, {"quality": 95}]
    made = []
    for number in range(count):
        way = WAYS[number % len(WAYS)]
        picture = photograph(90 + number % 60, 160 - number % 50, seed=number)
        pool = kinds if "restart" in way or chance.random() < 0.3 else free
        if way == BETWEEN_SCANS:
            pool = [{"progressive": True}, {"progressive": True, "quality": 95, "subsampling": 0}]
        whole = encoded(picture, **chance.choice(pool))
        made.append((way, damage(whole, way, chance), whole))
    return made


def grey_jpeg(precision: int) -> bytes:
    """A JPEG whose header announces so many bits a sample."""
    jpeg = bytearray(encoded(PHOTO))
    jpeg[jpeg.index(b"\xff\xc0") + 4] = precision
    return bytes(jpeg)


def arithmetic_jpeg() -> bytes:
    jpeg = bytearray(encoded(PHOTO))
    jpeg[jpeg.index(b"\xff\xc0") + 1] = 0xC9
    return bytes(jpeg)


def at_the_limits() -> dict[str, bytes]:
    """Pictures of as many pixels, scans and bytes as are read, and with much in them."""
    height, width = 4320, 7680
    chance = np.random.default_rng(7)
    noise = chance.integers(0, 256, (height, width, 3), dtype=np.uint8)
    grain = np.kron(noise[::8, ::8] // 2, np.ones((8, 8, 1), np.uint8)) + noise // 16
    jpeg = encoded(grain, quality=95, progressive=True)
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    scans = min((MAX_BYTES - len(jpeg)) // len(last), MAX_SCANS - 10)
    return {
        "ten scans": jpeg,
        "as many scans as are read": jpeg[:-2] + last * scans + END,
        "fill bytes": jpeg[:2] + b"\xff" * (MAX_BYTES - len(jpeg)) + jpeg[2:],
        "interlaced": interlaced_png(grain // 32 * 32),
        "lossless webp": encoded(grain // 32 * 32, "WEBP", lossless=True, method=0),
        "gif": encoded(Image.fromarray(grain[:, :, 0] // 32 * 32), "GIF"),
    }


BUSY_SIZE = 4 * 2**20


def busy() -> dict[str, bytes]:
    """Files that would keep a decoder busy for longer than their size explains."""
    jpeg, size = encoded(PHOTO), BUSY_SIZE
    png = encoded(np.zeros((48, 64, 3), np.uint8), "PNG")
    gif = encoded(Image.fromarray(PHOTO).quantize(16), "GIF")
    frame = gif.index(GIF_FRAME)
    return {
        "fill bytes": jpeg[:2] + b"\xff" * size + jpeg[2:],
        "fill bytes in the data": jpeg[:-2] + b"\xff" * size,
        "restart markers": jpeg[:2] + b"\xff\xd0" * (size // 2) + jpeg[2:],
        "empty comments": jpeg[:2] + b"\xff\xfe\x00\x02" * (size // 4) + jpeg[2:],
        "scans": many_scans(2000),
        "empty chunks": png[:33] + png_chunk(b"tEXt", b"") * (size // 12) + png[33:],
        "empty data": png[:33] + png_chunk(b"IDAT", b"") * (size // 12) + png[33:],
        "comment of pieces": (
            gif[:frame] + b"\x21\xfe" + (b"\xff" + b"a" * 255) * (size // 256) + b"\x00"
            + gif[frame:]
        ),
        "comments": gif[:frame] + b"\x21\xfe\x00" * (size // 3) + gif[frame:],
    }  # fmt: skip
