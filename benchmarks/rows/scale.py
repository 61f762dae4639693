"""Ray against threads on one machine, and rows of features that do not fit into memory at once."""

from collections.abc import Iterator
from typing import Any

from benchmarks.measure import Row, alternate, run_module, told
from benchmarks.setting import Setting

OVERHEAD = 1.15
STREAMED_BYTES = 1.5e9


def measure_scale(setting: Setting) -> Iterator[Row]:
    setting.make_demo(60 if setting.quick else 1_100)

    def figures(engine: str, cores: int) -> dict[str, Any]:
        ran = run_module(
            "benchmarks.scale_steps", "extract", engine, str(cores),
            str(setting.image_size), setting.folder / "scale" / "cache",
            setting.folder / "demo" / "images",
        )  # fmt: skip
        return told(ran)

    for cores in (1, 2):
        measured: dict[str, list[dict[str, Any]]] = {"local": [], "ray": []}

        def cpu(engine: str, cores: int = cores, measured: dict[str, Any] = measured) -> float:
            measured[engine].append(figures(engine, cores))
            return float(measured[engine][-1]["cpu_seconds"])

        pairs = alternate(
            lambda cpu=cpu: cpu("ray"),
            lambda cpu=cpu: cpu("local"),
            repeats=min(2, setting.repeats),
        )
        assert len({one["sha256"] for each in measured.values() for one in each}) == 1
        yield Row.of_ratios(
            [ray / local for ray, local in pairs],
            name=f"ray_{cores}_workers",
            what=f"processor time of features on a Ray cluster of {cores} cores that is there; workers start",
            against="threads of one process on as many cores; equal bytes",
            target=OVERHEAD,
            bound="at most",
            details=measured,
        )
    rows = 20_000 if setting.quick else 1_000_000
    folder = setting.folder / "scale" / "stream"
    streamed = told(run_module("benchmarks.scale_steps", "stream", folder, str(rows)))
    yield Row.of_ratios(
        [streamed["peak_bytes"] / STREAMED_BYTES],
        name="streamed_features",
        what="peak memory of keeping and scoring a million rows of 515 numbers, with two intervals",
        against="1.5 GB",
        target=1.0,
        bound="at most",
        details=streamed,
    )
