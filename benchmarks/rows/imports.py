"""`import webcam_ml.definitions` against `import dagster`: what every process of Dagster pays."""

import sys
from collections.abc import Iterator

from benchmarks.measure import Row, alternate, run
from benchmarks.setting import Setting

TARGET = 1.5


def measure_imports(setting: Setting) -> Iterator[Row]:
    def seconds(statement: str) -> float:
        return run(sys.executable, "-c", statement).seconds

    # The first of each compiles and warms the disk.
    seconds("import webcam_ml.definitions")
    seconds("import dagster")
    pairs = alternate(
        lambda: seconds("import webcam_ml.definitions"),
        lambda: seconds("import dagster"),
        repeats=3 if setting.quick else 15,
    )
    yield Row.of_ratios(
        [ours / theirs for ours, theirs in pairs],
        name="import_definitions",
        what="import webcam_ml.definitions, in a fresh process",
        against="import dagster, in a fresh process",
        target=TARGET,
        bound="at most",
        details={
            "ours_seconds": [ours for ours, _ in pairs],
            "dagster_seconds": [theirs for _, theirs in pairs],
        },
    )
