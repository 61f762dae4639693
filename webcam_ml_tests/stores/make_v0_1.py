"""Make `v0_1/`: the store of version 0.1.0, written by the code of commit 6955501 and no other.

Run in a checkout of that commit, with this folder copied into it:

    python -m webcam_ml_tests.stores.make_v0_1

The whole Dagster graph runs three times on drawn pictures: a regression and a binary model on the
first labels, and another binary model on more of them. All three go live.
"""

import contextlib
import io
import json
import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import sqlalchemy as sa
import webcam_ml.release._plot
from dagster import DagsterInstance
from PIL import Image

import webcam_ml.disagreement._preview
import webcam_ml.evaluation._plots
from webcam_ml.orchestration.build import build_definitions
from webcam_ml.orchestration.jobs import WHOLE_GRAPH
from webcam_ml_tests.label_schema import (
    Row,
    Rows,
    create_schema,
    insert_rows,
    rating,
    snapshot,
    webcam,
)
from webcam_ml_tests.stores.tiny import TINY, tiny_backbone

FOLDER = Path(__file__).with_name("v0_1")
# All names are relative to FOLDER, which is the working folder meanwhile: no path of a machine
# gets into labels, lineage or the image index.
ARTIFACTS, CACHE, DATABASE, PICTURES = (
    Path(name) for name in ("artifacts", "cache", "labels.sqlite", "pictures")
)
WEBCAMS, FRAMES = 80, 4
FIRST_FRAMES = 3  # of each webcam, rated before the first two runs
# Stands for the store's absolute path in scorer.env.
PLACE = "@ARTIFACTS@"

SIZE = (48, 32)
SMALL_DPI = 24


def draw(stars: float, seed: int) -> bytes:
    """A JPEG of below 1 kB whose contrast grows with the stars; its colours mean nothing."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    waves = np.zeros(x.shape)
    for _ in range(5):
        across, down = random.normal(0, 0.3, 2)
        waves += np.sin(across * x + down * y + random.uniform(0, 6.3))
    contrast = (3 + 9 * stars) * np.exp(random.normal(0, 0.25))
    picture = random.uniform(70, 180, 3) + contrast * waves[..., None] / waves.std()
    buffer = io.BytesIO()
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


def captured(snapshot_id: int) -> datetime:
    """Two hours apart: pictures within one hour are compared with each other."""
    return datetime(2026, 2, 12, 6) + timedelta(hours=2 * snapshot_id)


def make_rows() -> list[Rows]:
    """Draw the pictures; give what is in the label database first, and what is added later."""
    random = np.random.default_rng(1)
    beauty = random.normal(size=WEBCAMS)
    webcams = [
        webcam(1000 + i, title=f"Zürich {i}" if i else '=Löwen, 1"', source=source)
        for i, source in enumerate(random.choice(["windy", "custom"], WEBCAMS).tolist())
    ]
    snapshots: list[list[Row]] = [[], []]
    ratings: list[list[Row]] = [[], []]

    def add(id: int, webcam_id: int, votes: list[int], picture: bytes | None, at: datetime) -> None:
        later = (id - 1) % FRAMES >= FIRST_FRAMES
        path = PICTURES / f"{id}.jpg"
        if picture is not None:
            path.write_bytes(picture)
        phase = ("sunrise", "sunset")[id % 2]
        average = round(sum(votes) / len(votes), 2)
        snapshots[later].append(
            snapshot(
                id, webcam_id, calculated_rating=average, phase=phase, firebase_url=str(path),
                captured_at=at,
            )
        )  # fmt: skip
        ratings[later].extend(rating(id, vote, f"rater-{n}") for n, vote in enumerate(votes))

    for place in range(WEBCAMS * FRAMES):
        id, camera = place + 1, place // FRAMES
        mood = 2.6 + 1.1 * (beauty[camera] + random.normal())
        votes = [int(np.clip(round(mood + n * random.normal(0, 0.5)), 1, 5)) for n in range(2)]
        add(id, 1000 + camera, votes[: 1 + id % 2], draw(np.clip(mood, 1, 5), id), captured(id))

    # One camera under two names: an equal file, and the same view encoded again a minute later.
    # And one picture that is not there.
    extra = WEBCAMS * FRAMES + 1
    webcams.append(webcam(2000, title="Zürich 1 again"))
    first, second = 1 + FRAMES, 2 + FRAMES
    add(extra, 2000, [2], (PICTURES / f"{first}.jpg").read_bytes(), captured(first))
    reencoded = io.BytesIO()
    Image.open(PICTURES / f"{second}.jpg").save(reencoded, "JPEG", quality=50)
    add(extra + 1, 2000, [3], reencoded.getvalue(), captured(second) + timedelta(minutes=1))
    add(extra + 2, 2000, [1], None, captured(extra))
    # A snapshot that nobody rated, and one with a vote that is no rating.
    snapshots[0].append(snapshot(9001, 1001, captured_at=captured(9001)))
    snapshots[0].append(snapshot(9002, 1002, captured_at=captured(9002)))
    ratings[0].append(rating(9002, None, verdict="blurry"))
    return [
        Rows(tuple(webcams), tuple(snapshots[0]), tuple(ratings[0])),
        Rows((), tuple(snapshots[1]), tuple(ratings[1])),
    ]


def run(instance: DagsterInstance, target_type: str, *, record_inferences: bool = False) -> None:
    """Materialize the whole graph, with its checks."""
    ops = {
        "labels_raw": {"label_source": "public_aggregate"},
        "manifest_full": {
            "target_type": target_type, "train_pct": 40, "val_pct": 20, "test_pct": 40,
        },
        "checkpoint": {"model_name": TINY, "weights": "none", "image_size": 32},
        "eval_report": {"bootstrap_samples": 200},
        "disagreement_report": {"limit": 12, "record_inferences": record_inferences},
    }  # fmt: skip
    config = {"ops": {name: {"config": values} for name, values in ops.items()}}
    job = build_definitions(artifacts=ARTIFACTS, cache=CACHE).get_job_def(WHOLE_GRAPH)
    assert job.execute_in_process(run_config=config, instance=instance).success


def expected() -> dict[str, object]:
    """What a reader must find again."""
    latest = {}
    for pointer in sorted(ARTIFACTS.glob("*/latest.json")):
        folder = pointer.parent / json.loads(pointer.read_text())["version"]
        latest[pointer.parent.name] = json.loads((folder / "lineage.json").read_text())
    versions = {}
    for path in sorted(ARTIFACTS.glob("onnx_model/*/model.meta.json")):
        version = json.loads(path.read_text())["model_version"]
        lineage = json.loads(path.with_name("lineage.json").read_text())
        checkpoint = lineage["inputs"]["checkpoint"]
        report = next(
            json.loads((one.parent / "eval_report.json").read_text())
            for one in ARTIFACTS.glob("eval_report/*/lineage.json")
            if json.loads(one.read_text())["inputs"]["checkpoint"] == checkpoint
        )
        metric = report["primary_metric"]
        versions[version] = {
            "onnx_model": lineage["data_version"],
            "primary_metric": metric,
            "value": report["metrics"][metric],
        }
    ledger = (ARTIFACTS / "production/ledger.jsonl").read_text().splitlines()
    return {
        "latest": {name: lineage["data_version"] for name, lineage in latest.items()},
        "live": {
            name: (ARTIFACTS / "production" / name).readlink().name
            for name in ("binary", "regression")
        },
        "ledger": [
            {name: line[name] for name in ("action", "target_type", "version", "replaces")}
            for line in map(json.loads, ledger)
        ],
        "models": versions,
    }


def tidy() -> None:
    """Remove locks, and of the cache all but the pictures; take this machine's path out."""
    for path in (*ARTIFACTS.rglob("*.lock"), *ARTIFACTS.rglob(".lock")):
        path.unlink(missing_ok=True)
    shutil.rmtree(ARTIFACTS / ".runs", ignore_errors=True)
    # Notes on sources name absolute paths and times of change: elsewhere they are not found.
    shutil.rmtree(CACHE / "images" / "sources")
    for path in CACHE.iterdir():
        if path.name != "images":
            shutil.rmtree(path)
    for path in ARTIFACTS.glob("production/versions/*/scorer.env"):
        path.write_text(path.read_text().replace(str(ARTIFACTS.absolute()), PLACE))


def main() -> None:
    """Make the folder anew."""
    for module in (
        webcam_ml.evaluation._plots, webcam_ml.release._plot, webcam_ml.disagreement._preview,
    ):  # fmt: skip
        module.DPI = SMALL_DPI
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    with contextlib.chdir(FOLDER), tiny_backbone(), DagsterInstance.ephemeral() as instance:
        PICTURES.mkdir()
        url = f"sqlite:///{DATABASE}"
        os.environ["DATABASE_URL"] = url
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        create_schema(engine)
        before, later = make_rows()
        insert_rows(engine, before)
        run(instance, "regression")
        run(instance, "binary")
        insert_rows(engine, later)
        run(instance, "binary", record_inferences=True)
        found = expected()
        tidy()
    FOLDER.joinpath("expected.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
