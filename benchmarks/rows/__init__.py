"""One module for each row of the table, or small group of rows: a function from a setting to rows."""

from collections.abc import Callable, Iterator, Mapping

from benchmarks.measure import Row
from benchmarks.rows.bucket import measure_bucket
from benchmarks.rows.features import measure_features
from benchmarks.rows.growth import measure_growth
from benchmarks.rows.head import measure_head
from benchmarks.rows.imports import measure_imports
from benchmarks.rows.labels import measure_judged_labels, measure_labels
from benchmarks.rows.live import measure_live
from benchmarks.rows.overhead import measure_overhead
from benchmarks.rows.photographs import measure_photographs
from benchmarks.rows.quality import measure_quality
from benchmarks.rows.queue import measure_queue
from benchmarks.rows.scale import measure_scale
from benchmarks.rows.scoring import measure_scoring
from benchmarks.setting import Setting


def measure_beyond_one_machine(setting: Setting) -> Iterator[Row]:
    """The engine and the store of several machines, on one."""
    yield from measure_scale(setting)
    yield from measure_bucket(setting)


# In the order in which they run: the long ones last.
ROWS: Mapping[str, Callable[[Setting], Iterator[Row]]] = {
    "import": measure_imports,
    "labels": measure_labels,
    "judged_labels": measure_judged_labels,
    "features": measure_features,
    "head": measure_head,
    "scoring": measure_scoring,
    "photographs": measure_photographs,
    "queue": measure_queue,
    "overhead": measure_overhead,
    "scale": measure_beyond_one_machine,
    "growth": measure_growth,
    "live": measure_live,
    "quality": measure_quality,
}
