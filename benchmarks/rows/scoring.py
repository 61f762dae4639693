"""Scoring JPEG files through the runtime against bare decoding and session.run."""

from collections.abc import Iterator

from benchmarks.measure import Row, alternate, run_module, told
from benchmarks.setting import Setting

TARGET = 0.9


def measure_scoring(setting: Setting) -> Iterator[Row]:
    project = setting.finished_project()
    pictures = 40 if setting.quick else 200
    model = project.latest("onnx_model") / "model.onnx"

    def seconds(way: str) -> float:
        ran = run_module(
            "benchmarks.pictures", way, model, project.cache,
            setting.folder / "scoring", *project.pictures()[:pictures],
        )  # fmt: skip
        return float(told(ran)["seconds"])

    pairs = alternate(
        lambda: seconds("score"), lambda: seconds("bare-files"), repeats=setting.repeats
    )
    yield Row.of_ratios(
        [theirs / ours for ours, theirs in pairs],
        name="scoring_files",
        what="Scorer.score_many on JPEG files, pictures a second",
        against="PIL and session.run on the same files, one after the other on all cores",
        target=TARGET,
        bound="at least",
        details={
            "pictures": pictures,
            "ours_seconds": [ours for ours, _ in pairs],
            "bare_seconds": [theirs for _, theirs in pairs],
        },
    )
