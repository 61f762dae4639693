"""The measured processes behind the rows of the rating queue.

    python -m benchmarks.queue_steps prepare FOLDER FRAMES
    python -m benchmarks.queue_steps queue FOLDER

`prepare` makes a label database with some rated snapshots and FRAMES unrated ones, a model of the rated
ones, and caches in which every picture and every feature is there. The picture of an unrated frame is a
small one with a comment of its own, so that each is another file of the usual size; its features are
noise. `queue` chooses among all of them.
"""

import io
import os
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from PIL import Image

from benchmarks.measure import tell
from webcam_ml.dataset import Manifest, build_manifest, rows_with_pictures
from webcam_ml.dataset.duplicates import ComparedImages, compare_images
from webcam_ml.dataset.images import ArrayCache, ImageCache, ImageSettings, build_image_index
from webcam_ml.demo._schema import METADATA, RATINGS, SNAPSHOTS, WEBCAMS
from webcam_ml.labels import LabelDatabase, LabelQuery, read_labels
from webcam_ml.rating_queue import RatingQueueSettings, build_rating_queue
from webcam_ml.store import ArtifactStore, Provenance
from webcam_ml.training import TrainingSettings, train

CAMERAS = 600
RATED = 3_000
FEATURES = 896  # of the last three stages of a resnet18
# A picture of the application, 640 pixels wide, has about so many bytes.
PICTURE_BYTES = 20_000
FIRST = datetime(2025, 2, 12, 6)


def main() -> None:
    step, *arguments = sys.argv[1:]
    {"prepare": prepare, "queue": queue}[step](*arguments)


def prepare(at: str, unrated: str) -> None:
    folder, frames = Path(at), int(unrated)
    # Nothing here has to outlast a power failure, and a hundred thousand flushes take minutes.
    os.fsync = lambda _: None
    rng = np.random.default_rng(0)
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    total = RATED + frames
    stars = rng.choice(5, RATED, p=(0.62, 0.10, 0.08, 0.11, 0.09)) + 1
    drawn = [jpeg(rng, brightness) for brightness in range(60, 220, 8)]
    paths = []
    for number in range(total):
        path = pictures / f"{number % 100}" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        base = drawn[4 * int(stars[number]) - 4] if number < RATED else drawn[number % len(drawn)]
        path.write_bytes(with_comment(base, rng.bytes(PICTURE_BYTES)))
        paths.append(path)
    url = f"sqlite:///{folder / 'labels.sqlite'}"
    engine = sa.create_engine(url)
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(
            WEBCAMS.insert(),
            [
                {"id": 1000 + 17 * i, "title": f"{i}", "source": "windy", "lat": 0.0, "lng": 0.0}
                for i in range(CAMERAS)
            ],
        )
        connection.execute(
            SNAPSHOTS.insert(),
            [
                {
                    "id": i + 1,
                    "webcam_id": 1000 + 17 * int(camera),
                    "phase": "sunset",
                    "calculated_rating": float(stars[i]) if i < RATED else None,
                    "firebase_url": str(paths[i]),
                    "captured_at": FIRST + i * timedelta(minutes=7),
                }
                for i, camera in enumerate(rng.integers(CAMERAS, size=total))
            ],
        )
        connection.execute(
            RATINGS.insert(),
            [
                {"snapshot_id": i + 1, "user_session_id": "curator", "rating": int(stars[i])}
                for i in range(RATED)
            ],
        )
    database, cache = LabelDatabase(url), folder / "cache"
    images = ImageCache(cache)
    manifest = build_manifest(read_labels(database, LabelQuery()))
    index = build_image_index(manifest.frame, cache=images, settings=ImageSettings())
    compared = compare_images(manifest.frame, index, images=images, cache=cache)
    checkpoint = train(
        rows_with_pictures(manifest.split("train"), index),
        rows_with_pictures(manifest.split("val"), index),
        meta=manifest.meta,
        settings=TrainingSettings(model_name="resnet18", weights="none", image_size=32),
        images=images,
        cache=cache,
    ).checkpoint
    store = ArtifactStore(folder / "artifacts")
    provenance = Provenance(
        run_id="", config={}, code_version={}, libraries={}, database=database.description
    )
    for name, artifact in (
        ("manifest_full", manifest),
        ("image_index", compared),
        ("checkpoint", checkpoint),
    ):
        store.write(name, artifact, inputs={}, provenance=provenance)
    graph = checkpoint.model.restore_graph(cache)
    digests = []
    for path in paths[RATED:]:
        content = path.read_bytes()
        digests.append(images.store(content))
    ArrayCache(
        cache / "features" / f"{graph.fingerprint[:24]}.sqlite",
        np.float32,
        machine=images.engine.kind(images.engine.provider),
    ).keep({digest: rng.normal(size=FEATURES + 3).astype(np.float32) for digest in digests})


def jpeg(rng: np.random.Generator, brightness: int) -> bytes:
    buffer = io.BytesIO()
    pixels = rng.normal(brightness, 20, (64, 96, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def with_comment(data: bytes, comment: bytes) -> bytes:
    """Put a comment behind the first marker of a JPEG: the same picture, another file."""
    return data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]


def queue(at: str) -> None:
    folder = Path(at)
    store, cache = ArtifactStore(folder / "artifacts"), folder / "cache"
    began = time.perf_counter()
    result = build_rating_queue(
        store.latest("checkpoint"),
        store.latest("manifest_full").load(Manifest),
        store.latest("image_index").load(ComparedImages),
        judged=None,
        settings=RatingQueueSettings(pool=1_000_000),
        database=lambda: LabelDatabase(f"sqlite:///{folder / 'labels.sqlite'}"),
        images=ImageCache(cache),
        cache=cache,
    )
    tell(
        seconds=time.perf_counter() - began,
        scored=result.queue.meta.scored,
        rows=result.queue.frame.height,
        computed=result.features_computed,
    )


if __name__ == "__main__":
    main()
