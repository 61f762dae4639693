"""Many fingerprints without pictures: as alike as those of skies are, some planted twice."""

import numpy as np
import polars as pl

from webcam_ml.dataset.duplicates import match_pictures

BITS = 64
# Of the bits of skies' hashes: brighter below and towards the sun. With it about one pair in twenty
# of unrelated pictures passes the hash, as measured on drawn pictures (docs/duplicates.md).
LIKELY = 0.735


def match_synthetic(*, pictures: int, webcams: int, days: int, planted: int, seed: int = 0) -> int:
    """Match random fingerprints spread over some days; give the number of pairs found.

    `planted` of the pictures have a copy under another webcam at the same moment, with one bit of
    the hash and one part in ten of the texture changed.
    """
    random = np.random.default_rng(seed)
    hashes = np.packbits(random.random((pictures, BITS)) < LIKELY, axis=1).view(np.uint64).ravel()
    # Bytes that are spread evenly over ±63: as much variation as a real texture has.
    textures = random.integers(-63, 64, (pictures, 64 * 64), dtype=np.int8)
    seconds = np.sort(random.integers(0, days * 86_400, pictures))
    webcam = random.integers(0, webcams, pictures)
    original = np.arange(planted) * 2
    hashes[original + 1] = hashes[original] ^ np.uint64(1)
    textures[original + 1] = textures[original]
    textures[original + 1, : textures.shape[1] // 10] = 0
    seconds[original + 1] = seconds[original]
    webcam[original + 1] = (webcam[original] + 1) % webcams
    frame = pl.DataFrame(
        {
            "snapshot_id": np.arange(pictures),
            "webcam_id": webcam,
            "captured_at": (pl.Series(seconds, dtype=pl.Int64) * 1000)
            .cast(pl.Datetime("ms"))
            .dt.to_string("%Y-%m-%dT%H:%M:%SZ"),
            "sha256": [f"{number:064d}" for number in range(pictures)],
        }
    )
    return match_pictures(frame, hashes, textures).pairs.height
