"""The benchmarks' runner: what it writes, and that a failure is a result and not a gap."""

import ast
import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchmarks
import benchmarks.__main__ as runner
from benchmarks import stages
from benchmarks.measure import Row, RowFailed, alternate, run_module
from benchmarks.setting import Setting

KEYS = {"name", "ratio", "target", "met", "low", "high"}


def one_row(setting: Setting) -> Iterator[Row]:
    yield Row.of_ratios(
        [2.0, 3.0, 1.0], name="good", what="a", against="b", target=1.5, bound="at least"
    )


def failing_row(setting: Setting) -> Iterator[Row]:
    yield from one_row(setting)
    raise RowFailed("the server did not start")


def results(folder: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((folder / "results.json").read_text())
    return found


def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *arguments: str) -> int:
    monkeypatch.setattr(runner, "ROWS", {"one": one_row, "failing": failing_row})
    return runner.main(["--out", str(tmp_path / "out"), "--results", str(tmp_path), *arguments])


def test_results_have_the_fields_of_the_contract_and_a_plot(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run(monkeypatch, tmp_path, "--rows", "one") == 0

    (row,) = results(tmp_path)
    assert row.keys() >= KEYS
    assert (row["ratio"], row["low"], row["high"]) == (2.0, 1.0, 3.0)
    assert row["met"] is True
    assert row["quick"] is False
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")


def test_a_row_that_fails_is_a_missed_target_and_keeps_what_was_measured_before_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, "--rows", "failing") == 1

    good, failed = results(tmp_path)
    assert good["met"] is True
    assert (failed["ratio"], failed["met"]) == (None, False)
    assert failed["error"] == "the server did not start"
    assert "FAILED: the server did not start" in capsys.readouterr().out


def test_a_row_measured_alone_leaves_the_others_as_they_were(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(monkeypatch, tmp_path, "--rows", "one,failing")
    before = results(tmp_path)
    run(monkeypatch, tmp_path, "--rows", "one")

    def measured(rows: list[dict[str, object]]) -> list[str]:
        # The load of the machine is another at every look.
        return sorted(str({**row, "machine": None}) for row in rows)

    assert measured(before) == measured(results(tmp_path))


def test_a_quick_run_does_not_touch_the_real_results(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runner, "ROWS", {"one": one_row})
    monkeypatch.setattr(runner, "HERE", tmp_path / "real")

    assert runner.main(["--quick", "--out", str(tmp_path / "out")]) == 0

    assert not (tmp_path / "real").exists()
    (row,) = results(tmp_path / "out/quick")
    assert row["quick"] is True


@pytest.mark.parametrize(
    ("ratio", "bound", "met"),
    [
        (1.0, "at most", True),
        (1.1, "at most", False),
        (1.0, "at least", True),
        (0.9, "at least", False),
    ],
)
def test_a_target_is_met_when_the_median_keeps_to_it(ratio: float, bound: str, met: bool) -> None:
    row = Row.of_ratios(
        [ratio, 0.0, 9.0], name="a", what="b", against="c", target=1.0, bound=bound,
    )  # fmt: skip

    assert row.met is met


def test_measurements_alternate() -> None:
    order: list[str] = []

    def measured(name: str) -> float:
        order.append(name)
        return 1.0

    alternate(lambda: measured("a"), lambda: measured("b"), repeats=2)

    assert order == ["a", "b", "a", "b"]


def test_a_measured_process_that_dies_says_what_it_printed() -> None:
    with pytest.raises(RowFailed, match="No module named benchmarks"):
        run_module("benchmarks.nothing_of_this_name")


def test_the_page_has_the_table_of_stages_that_was_measured(tmp_path: Path) -> None:
    page = Path(benchmarks.__path__[0]).parent / "docs" / "backbones.md"
    again = tmp_path / page.name
    again.write_bytes(page.read_bytes())
    stages.write_table(again, json.loads(stages.MEASURED.read_text(encoding="utf-8")))
    assert again.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "file", sorted(Path(benchmarks.__path__[0]).rglob("*.py")), ids=lambda file: file.stem
)
def test_all_that_a_benchmark_takes_from_the_package_is_there(file: Path) -> None:
    """Nothing else runs them at each change."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("webcam_ml"):
            module = importlib.import_module(str(node.module))
            for name in (alias.name for alias in node.names):
                if not hasattr(module, name):
                    importlib.import_module(f"{node.module}.{name}")
