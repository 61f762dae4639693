"""Run the benchmarks: `make bench`, `make bench QUICK=1`, `make bench ROWS=import,labels`."""

import argparse
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.measure import REPOSITORY, Row, RowFailed
from benchmarks.rows import ROWS
from benchmarks.setting import Setting

HERE = REPOSITORY / "benchmarks"
OUT = HERE / "out"
WEIGHTS = OUT / "pretrained-resnet18.pt"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, write results.json and results.png; 1 if a row failed."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="everything once at a small size")
    parser.add_argument(
        "--rows", type=lambda text: text.split(","), default=list(ROWS), help=", ".join(ROWS)
    )
    parser.add_argument("--weights", type=Path, help="state dict of a resnet18; made if missing")
    parser.add_argument("--out", type=Path, default=OUT, help="working folder")
    parser.add_argument("--results", type=Path, help="folder of results.json and results.png")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.rows if name not in ROWS]:
        parser.error(f"unknown rows {', '.join(unknown)}: choose from {', '.join(ROWS)}")
    # A quick run proves that it works. Its numbers say nothing, and never take the real ones' place.
    out = options.out / ("quick" if options.quick else "full")
    results = options.results or (out if options.quick else HERE)
    weights = options.weights or (out / "random-resnet18.pt" if options.quick else WEIGHTS)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    results.mkdir(parents=True, exist_ok=True)
    setting = Setting(
        folder=out.resolve(),
        weights=weights.resolve(),
        results=results.resolve(),
        quick=options.quick,
    )
    kept = earlier_rows(results / "results.json", measured_now=options.rows)
    measured = measure(options.rows, setting, kept=kept)
    print(table(measured))
    draw(kept + measured, results / "results.png")
    print(f"\n{results / 'results.json'}\n{results / 'results.png'}")
    return 1 if any(row["error"] for row in measured) else 0


def measure(
    names: Sequence[str], setting: Setting, *, kept: Sequence[dict[str, object]]
) -> list[dict[str, object]]:
    """Measure row after row; what is there is written after each, and a failure stops only its row."""
    rows: list[dict[str, object]] = []
    for name in names:
        began = time.perf_counter()
        print(f"{name} …", end=" ", flush=True)
        try:
            for row in ROWS[name](setting):
                rows.append(as_result(row, of=name, setting=setting))
        except RowFailed as failure:
            rows.append(as_result(Row.failed(name, str(failure)), of=name, setting=setting))
        print(f"{time.perf_counter() - began:.0f} s", flush=True)
        text = json.dumps([*kept, *rows], indent=1, allow_nan=False) + "\n"
        (setting.results / "results.json").write_text(text)
    return rows


def as_result(row: Row, *, of: str, setting: Setting) -> dict[str, object]:
    """One entry of results.json."""
    result = asdict(row)
    if row.error is not None:
        result["target"] = None
    return {
        **result,
        "rows": of,
        "quick": setting.quick,
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "load_average": round(os.getloadavg()[0], 1),
        },
    }


def processor() -> str:
    """Name the processor, as Linux knows it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def earlier_rows(path: Path, *, measured_now: Sequence[str]) -> list[dict[str, object]]:
    """Rows of an earlier run that this one does not measure again."""
    if not path.exists():
        return []
    return [row for row in json.loads(path.read_text()) if row["rows"] not in measured_now]


def table(rows: Sequence[dict[str, object]]) -> str:
    """Lay the rows out for a terminal."""
    lines = [f"{'':28}{'ratio':>8} {'range':>17}   {'target':>14}  met"]
    for row in rows:
        if row["error"]:
            lines.append(f"{row['name']:28}  FAILED: {str(row['error']).splitlines()[0]}")
            continue
        span = "–" if row["low"] is None else f"{row['low']:.2f} to {row['high']:.2f}"
        target = f"{row['bound']} {row['target']:g}"
        met = "yes" if row["met"] else "NO"
        lines.append(f"{row['name']:28}{row['ratio']:>8.2f} {span:>17}   {target:>14}  {met}")
    return "\n".join(["", *lines])


def draw(rows: Sequence[dict[str, object]], path: Path) -> None:
    """Draw each ratio, with its range, against its target."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    # A target of nothing, or below it, has no ratio to it.
    shown = [row for row in rows if row["ratio"] is not None and float(row["target"]) > 0]
    figure, axes = plt.subplots(figsize=(9, 0.5 * len(shown) + 1.6), layout="constrained")
    for place, row in enumerate(reversed(shown)):
        # How many times better than the target: above 1 is met, whichever way the target points.
        ratio, low, high = (
            float(row[name]) / float(row["target"]) for name in ("ratio", "low", "high")
        )
        if row["bound"] == "at most":
            ratio, low, high = (1 / max(value, 1e-3) for value in (ratio, high, low))
        colour = "#0072B2" if row["met"] else "#D55E00"
        axes.plot([low, high], [place, place], color=colour, linewidth=5, alpha=0.35)
        axes.plot(ratio, place, "o", color=colour)
    axes.axvline(1.0, color="#222222", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(shown)), [str(row["name"]) for row in reversed(shown)])
    axes.set_xlabel("times better than the target (line: target; right of it is met)")
    quick = (
        " – QUICK: small sizes, the numbers say nothing" if any(r["quick"] for r in rows) else ""
    )
    axes.set_title(f"Performance against targets{quick}", loc="left")
    figure.savefig(path, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
