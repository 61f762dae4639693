"""rating_queue: among 100,000 frames whose features are there, and memory with a million unrated ones."""

from collections.abc import Iterator

import sqlalchemy as sa

from benchmarks.label_rows import fill
from benchmarks.measure import Row, RowFailed, alternate, run_module, told
from benchmarks.rows.labels import postgres
from benchmarks.setting import Setting

SECONDS = 60.0
MEMORY = 0.5
RATED = 5_000
MORE_UNRATED = """
    INSERT INTO webcam_snapshots
           (id, webcam_id, phase, firebase_url, firebase_path, captured_at)
    SELECT :after + i, 1000 + 17 * (abs(hashint4(i::int) % 60)), 'sunset',
           'https://storage.example.org/snapshots/' || i || '.jpg', 'snapshots/' || i || '.jpg',
           TIMESTAMP '2025-02-12 10:15:00' + i * INTERVAL '29 seconds'
    FROM generate_series(1, :unrated) AS i
"""


def measure_queue(setting: Setting) -> Iterator[Row]:
    yield chosen_among_many(setting)
    yield memory_of_many(setting)


def chosen_among_many(setting: Setting) -> Row:
    frames = 500 if setting.quick else 100_000
    folder = setting.folder / "queue"
    run_module("benchmarks.queue_steps", "prepare", folder, str(frames))
    runs = [
        told(run_module("benchmarks.queue_steps", "queue", folder)) for _ in range(setting.repeats)
    ]
    if any(run["computed"] for run in runs):
        raise RowFailed(f"features were computed that should have been there: {runs}")
    return Row.of_ratios(
        [run["seconds"] / SECONDS for run in runs],
        name="queue_seconds",
        what=f"rating_queue among {frames:,} unrated frames, features and pictures in the cache",
        against=f"{SECONDS:g} s",
        target=1.0,
        bound="at most",
        details={
            "frames": frames,
            "scored": runs[0]["scored"],
            "seconds": [run["seconds"] for run in runs],
            "peak_bytes": [run["peak_bytes"] for run in runs],
        },
    )


def memory_of_many(setting: Setting) -> Row:
    unrated = 20_000 if setting.quick else 1_000_000
    with postgres(setting.folder / "postgres-queue") as url:
        fill(url, RATED)
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.execute(sa.text(MORE_UNRATED), {"after": 2 * RATED, "unrated": unrated})
        engine.dispose()
        seen: dict[str, list[dict[str, object]]] = {"pool": [], "dicts": []}

        def peak(way: str) -> float:
            ran = run_module(f"benchmarks.queue_{way}", url)
            seen[way].append({"seconds": ran.seconds, **told(ran)})
            return float(seen[way][-1]["peak_bytes"])

        pairs = alternate(
            lambda: peak("pool"),
            lambda: peak("dicts"),
            repeats=1 if setting.quick else 3,
        )
    if len({str(one["pool"]) for way in seen.values() for one in way}) > 1:
        raise RowFailed(f"the two ways come to another pool: {seen}")
    return Row.of_ratios(
        [ours / theirs for ours, theirs in pairs],
        name="queue_peak_memory",
        what=f"the pool of rating_queue from {unrated:,} unrated snapshots on PostgreSQL",
        against="fetch all rows as dicts, loop in Python",
        target=MEMORY,
        bound="at most",
        details={
            "unrated_snapshots": unrated,
            **{
                f"{name}_{what}": [one[what] for one in seen[way]]
                for name, way in (("ours", "pool"), ("dicts", "dicts"))
                for what in ("seconds", "peak_bytes")
            },
        },
    )
