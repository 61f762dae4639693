"""All pictures that decoders are tried with, by name, for whatever must decode as `scoring` does.

Files are made when a test asks for them, not when pytest collects.
"""

import random
from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from sklearn.datasets import load_sample_images

from webcam_ml_tests.scoring import cases
from webcam_ml_tests.scoring.pictures import (
    HTML,
    SVG,
    encoded,
    jpeg_with_app1,
    photograph,
    png_claiming,
    png_of_16_bits,
    with_orientation,
)

Makers = dict[str, Callable[[], bytes]]

PHOTO = photograph(60, 80)
ALPHA = np.arange(60 * 80).reshape(60, 80, 1).astype(np.uint8)
KINDS: tuple[tuple[str, dict[str, object]], ...] = (
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("GIF", {}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
)

SENSELESS_EXIF = (
    b"Exif\x00\x00",
    b"Exif\x00\x00II*\x00",
    b"Exif\x00\x00II*\x00\xff\xff\xff\xff",
    b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff",
    b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x05\x01\x1a\x00\x05\x00\x00\xff\xff\x00\x00",
    b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x09\x00\x00\x00",
    b"Exif\x00\x00not a directory at all",
)
XMP_ORIENTATION = (
    b'http://ns.adobe.com/xap/1.0/\x00<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
)
# Content, the reason of the error, and what its message says.
NO_PICTURES: tuple[tuple[bytes, str, str], ...] = (
    (b"", "empty", "0 bytes"),
    (HTML, "not_an_image", "HTML page"),
    (b"\xef\xbb\xbf  " + HTML, "not_an_image", "HTML page"),
    (SVG, "not_an_image", "SVG"),
    (b'{"error": "no such camera"}', "not_an_image", "JSON"),
    (b"\xff\xd8", "not_an_image", "only 2 bytes"),
    (b"camera offline", "not_an_image", "looks like text"),
    (b"\x00\x00\x00\x20ftypavif" + bytes(90), "unsupported", "AVIF"),
    (encoded(PHOTO, "BMP"), "unsupported", "BMP"),
    (encoded(PHOTO, "TIFF"), "unsupported", "TIFF"),
    (b"\xff\xd8\xff" + bytes(500), "damaged", "JPEG"),
    (b"\x89PNG\r\n\x1a\n" + bytes(500), "damaged", "PNG"),
)


@cache
def real_photo(index: int) -> NDArray[np.uint8]:
    """A temple and a flower, [427, 640, 3]: the photographs that scikit-learn brings along."""
    image: NDArray[np.uint8] = load_sample_images().images[index]
    return image


def _frames() -> list[Image.Image]:
    return [Image.fromarray(photograph(seed=seed)) for seed in range(3)]


def _animated(kind: str, **options: object) -> bytes:
    first, *others = _frames()
    return encoded(first, kind, save_all=True, append_images=others, **options)


def _drawn() -> Image.Image:
    return Image.fromarray(PHOTO).quantize(16)


def _grey_and_alpha() -> Image.Image:
    return Image.fromarray(np.concatenate([PHOTO[:, :, :1], ALPHA], axis=2), "LA")


def _sixteen_bits(channels: int) -> NDArray[np.uint16]:
    return np.random.default_rng(5).integers(0, 2**16, (9, 7, channels), dtype=np.uint16)


def _red_blue_swapped_profile() -> bytes:
    """A valid colour profile that whoever applies it would see at once."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return srgb.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


def _with_wrong_checksum() -> bytes:
    png = bytearray(encoded(PHOTO, "PNG"))
    png[-13] ^= 1
    return bytes(png)


def _spoilt(way: str) -> bytes:
    """A photograph of which a part is missing, with restart markers, so that no damage spreads."""
    jpeg = encoded(real_photo(0), restart_marker_rows=1, progressive=way == cases.BETWEEN_SCANS)
    return cases.damage(jpeg, way, random.Random(3))


def _gif_of_canvas(width: int, height: int) -> bytes:
    gif = encoded(_drawn(), "GIF")
    return gif[:6] + width.to_bytes(2, "little") + height.to_bytes(2, "little") + gif[10:]


# Every decoder makes the same pixels of these, to the bit.
ALIKE: Makers = {
    "temple": lambda: encoded(real_photo(0), quality=90),
    "flower": lambda: encoded(real_photo(1), progressive=True),
    "portrait": lambda: encoded(real_photo(0)[:, :200], subsampling=1),
    "odd size": lambda: encoded(real_photo(1)[:301, :403], subsampling=2),
    "fine colour": lambda: encoded(real_photo(1), subsampling=0, quality=95),
    "poor": lambda: encoded(PHOTO, quality=20),
    "optimised": lambda: encoded(PHOTO, optimize=True),
    "tiny": lambda: encoded(PHOTO[:3, :5]),
    **{f"one pixel {kind}": partial(encoded, PHOTO[:1, :1], kind) for kind, _ in KINDS},
    "4k": lambda: encoded(Image.fromarray(real_photo(0)).resize((3840, 2160)), quality=70),
    "tall column": lambda: encoded(photograph(height=70_000, width=1), "PNG"),
    "png": lambda: encoded(real_photo(0), "PNG"),
    "png without its end": lambda: encoded(PHOTO, "PNG")[:-12],
    "webp": lambda: encoded(real_photo(1), "WEBP"),
    "lossless webp": lambda: encoded(PHOTO, "WEBP", lossless=True),
    "webp with alpha": lambda: encoded(
        np.concatenate([PHOTO, ALPHA], axis=2), "WEBP", lossless=True, exact=True
    ),
    "grey": lambda: encoded(PHOTO[:, :, 0]),
    "grey png": lambda: encoded(PHOTO[:, :, 0], "PNG"),
    "grey gif": lambda: encoded(PHOTO[:, :, 0], "GIF"),
    "1 bit": lambda: encoded(Image.fromarray(PHOTO[:, :, 0]).convert("1"), "PNG"),
    "palette": lambda: encoded(_drawn(), "PNG", transparency=bytes(range(0, 160, 10))),
    "palette, one transparent": lambda: encoded(_drawn(), "PNG", transparency=3),
    "gif": lambda: encoded(_drawn(), "GIF"),
    "animated gif": partial(_animated, "GIF"),
    "animated webp": partial(_animated, "WEBP", lossless=True),
    "animated png": partial(_animated, "PNG"),
    "rgba": lambda: encoded(np.concatenate([PHOTO, ALPHA], axis=2), "PNG"),
    "la": lambda: encoded(_grey_and_alpha(), "PNG"),
    **{
        f"16 bits, {channels} channels": partial(
            lambda channels, colour: png_of_16_bits(_sixteen_bits(channels), colour),
            channels,
            colour,
        )
        for channels, colour in ((1, 0), (3, 2), (2, 4), (4, 6))
    },
    "profile": lambda: encoded(real_photo(1), icc_profile=_red_blue_swapped_profile()),
    "senseless profile": lambda: encoded(PHOTO, icc_profile=b"p" * 128),
    **{
        f"orientation {orientation} {kind}": partial(with_orientation, PHOTO, orientation, kind)
        for orientation in range(1, 9)
        for kind in ("JPEG", "PNG", "WEBP")
    },
    **{
        f"senseless exif {number}": partial(
            lambda block: jpeg_with_app1(encoded(PHOTO), block), block
        )
        for number, block in enumerate(SENSELESS_EXIF)
    },
    "orientation in xmp": lambda: jpeg_with_app1(encoded(PHOTO), XMP_ORIENTATION),
    **cases.ODD,
    **{f"whole: {name}": make for name, make in cases.WHOLE.items()},
}

# Of these they do not, as docs/runtime.md says.
UNLIKE: Makers = {
    "cmyk": lambda: encoded(Image.fromarray(real_photo(1)).convert("CMYK"), quality=95),
    "transparent gif": lambda: encoded(_drawn(), "GIF", transparency=3),
    "small first frame of a large gif": partial(_gif_of_canvas, 3000, 100),
}

REFUSED: Makers = {
    **{
        f"no picture {number}": partial(bytes, data)
        for number, (data, _, _) in enumerate(NO_PICTURES)
    },
    "12 bits": partial(cases.grey_jpeg, 12),
    "arithmetic": cases.arithmetic_jpeg,
    "scans": partial(cases.many_scans, 2000),
    "critical chunk": _with_wrong_checksum,
    "png with too few rows": cases.too_few_rows,
    "interlaced png with too few rows": partial(cases.too_few_rows, interlaced=True),
    "jpeg without its last byte": lambda: encoded(PHOTO)[:-1],
    "webp without its last byte": lambda: encoded(PHOTO, "WEBP")[:-1],
    **{
        f"claims {width} x {height}": partial(png_claiming, width, height)
        for width, height in ((12_000, 9_000), (8_000, 5_000), (60_000, 60_000))
    },
    "gif claims 60000 x 60000": partial(_gif_of_canvas, 60_000, 60_000),
    "12000 x 9000": lambda: encoded(Image.new("L", (12_000, 9_000)), "PNG", compress_level=1),
    **{
        f"{kind} {options} cut at {share} %": partial(
            lambda kind, options, share: (whole := encoded(PHOTO, kind, **options))[
                : len(whole) * share // 100
            ],
            kind,
            options,
            share,
        )
        for kind, options in KINDS
        for share in range(35, 96, 10)
    },
    **{f"spoilt: {way}": partial(_spoilt, way) for way in cases.WAYS},
}

# Python refuses these for what libjpeg says about the last rows, which libvips does not listen to.
REFUSED_FOR_THE_LAST_ROWS: Makers = {
    "500 zeros at the end": partial(cases.padded, 500),
    "text at the end": lambda: encoded(cases.PHOTO)[:-2] + b"abc" * 4 + cases.END,
}


def busy() -> Iterator[tuple[str, bytes]]:
    """Give the files that would keep a decoder busy; some are pictures, some are not."""
    for name, data in cases.busy().items():
        yield f"busy: {name}", data
