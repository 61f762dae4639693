"""Growth: seconds and memory of each step over the number of labels; no target, but a plot."""

import itertools
import json
import math
import shutil
from collections.abc import Iterator

from benchmarks.label_rows import fill
from benchmarks.measure import Row, run_module, told
from benchmarks.rows.labels import postgres
from benchmarks.setting import Setting

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 4_000)
# A step is not asked to do a size at which, growing linearly, it would take longer.
LIMIT_SECONDS = 180.0
LATER_STEPS = ("checkpoint", "eval_report", "disagreement_report")
LABEL_STEPS = {
    "labels_raw": ("read_labels", "save labels"),
    "manifests": ("build_manifest", "save manifest", "split and save"),
}

Measured = dict[str, dict[int, dict[str, float]]]


def measure_growth(setting: Setting) -> Iterator[Row]:
    sizes = QUICK_SIZES if setting.quick else SIZES
    finished = setting.finished_project()
    steps: Measured = {}
    left_out: dict[str, str] = {}
    with postgres(setting.folder / "postgres-growth") as url:
        for size in sizes:
            fill(url, size)
            folder = setting.folder / "growth" / str(size)
            labels = told(run_module("benchmarks.labels_ours", url, folder, "manual_only"))
            for step, phases in LABEL_STEPS.items():
                steps.setdefault(step, {})[size] = {
                    "seconds": sum(labels["phases"][phase] for phase in phases),
                    "peak_bytes": labels["peak_bytes"],
                }
            asked = []
            for step in LATER_STEPS:
                expected = expected_seconds(steps.get(step, {}), size)
                if expected <= LIMIT_SECONDS:
                    asked.append(step)
                else:
                    left_out[f"{step} at {size}"] = f"about {expected:.0f} s if it grew linearly"
            cache = folder / "cache"
            shutil.copytree(finished.cache / "backbones", cache / "backbones")
            # A process each: the memory of one must not hide in what another left behind.
            for step in asked:
                later = run_module(
                    "benchmarks.growth_steps", folder, cache, setting.weights,
                    str(setting.image_size), step,
                )  # fmt: skip
                figures = json.loads(later.output.strip().splitlines()[-1])[step]
                steps.setdefault(step, {})[size] = figures
            shutil.rmtree(folder)
    document = {
        "quick": setting.quick,
        "steps": {name: {str(n): one for n, one in by.items()} for name, by in steps.items()},
        "exponents": {name: exponents(by) for name, by in steps.items()},
        "left_out": left_out,
    }
    (setting.results / "growth.json").write_text(json.dumps(document, indent=1) + "\n")
    draw(steps, setting)
    yield from ()


def expected_seconds(by_size: dict[int, dict[str, float]], size: int) -> float:
    """What a step would take at a size if it grew linearly from the largest that was measured."""
    if not by_size:
        return 0.0
    largest = max(by_size)
    return by_size[largest]["seconds"] * size / largest


def exponents(by_size: dict[int, dict[str, float]]) -> dict[str, float]:
    """Slope in the log-log plot between neighbouring sizes: 1 is linear, below is better."""
    sizes = sorted(by_size)
    return {
        f"{small}–{large}": round(
            math.log(by_size[large]["seconds"] / by_size[small]["seconds"])
            / math.log(large / small),
            2,
        )
        for small, large in itertools.pairwise(sizes)
    }


def draw(steps: Measured, setting: Setting) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    for axes, value, scale, label in (
        (panels[0], "seconds", 1.0, "seconds"),
        (panels[1], "peak_bytes", 2**20, "peak memory of the process, MiB"),
    ):
        for name, by_size in steps.items():
            sizes = sorted(by_size)
            axes.plot(sizes, [by_size[size][value] / scale for size in sizes], "o-", label=name)
        axes.set(xscale="log", yscale="log", xlabel="labels", ylabel=label)
        axes.grid(True, which="major", alpha=0.3)
    low, high = panels[0].get_xlim()
    bottom = panels[0].get_ylim()[0]
    panels[0].plot([low, high], [bottom, bottom * high / low], ":", color="#888888", label="linear")
    panels[0].set_ylim(bottom=bottom)
    panels[0].legend()
    quick = " – QUICK: small sizes" if setting.quick else ""
    figure.suptitle(f"Growth with the number of labels{quick}")
    figure.savefig(setting.results / "growth.png", dpi=130)
    plt.close(figure)
