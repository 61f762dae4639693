"""Dagster's overhead: a full run against the same domain functions called in a plain script."""

import shutil
import statistics
from collections.abc import Iterator

from benchmarks.measure import Row, alternate, run_module
from benchmarks.setting import Setting

SECONDS_ON_TOP = 10.0


def measure_overhead(setting: Setting) -> Iterator[Row]:
    """Both in a fresh process into an empty store; what costs hours either way is in the caches."""
    finished = setting.finished_project()
    project = setting.project("overhead", cache=finished.cache)
    script = setting.folder / "plain-script"

    def dagster() -> float:
        shutil.rmtree(project.artifacts, ignore_errors=True)
        return project.materialize().seconds

    def plain() -> float:
        shutil.rmtree(script, ignore_errors=True)
        return run_module(
            "benchmarks.plain_script", setting.database_url, script, finished.cache,
            setting.weights, str(setting.image_size), "quick" if setting.quick else "full",
        ).seconds  # fmt: skip

    dagster()  # the first run of an instance makes its tables
    pairs = alternate(dagster, plain, repeats=1 if setting.quick else 3)
    yield Row.of_ratios(
        [(with_dagster - without) / SECONDS_ON_TOP for with_dagster, without in pairs],
        name="dagster_overhead",
        what="seconds that a full run of the graph takes on top, caches full: dagster asset "
        "materialize minus a plain script",
        against=f"{SECONDS_ON_TOP:g} s",
        target=1.0,
        bound="at most",
        details={
            "dagster_seconds": [one for one, _ in pairs],
            "script_seconds": [one for _, one in pairs],
            "seconds_on_top": statistics.median(one - other for one, other in pairs),
        },
    )
