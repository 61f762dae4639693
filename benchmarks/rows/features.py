"""Feature extraction against the same backbone in a bare onnxruntime session."""

from collections.abc import Iterator

from benchmarks.measure import Row, alternate, run_module, told
from benchmarks.setting import Setting

TARGET = 0.9


def measure_features(setting: Setting) -> Iterator[Row]:
    project = setting.finished_project()
    pictures = 40 if setting.quick else 600

    def seconds(way: str) -> float:
        ran = run_module(
            "benchmarks.pictures", way, project.backbone, project.cache,
            setting.folder / "features", *project.pictures()[:pictures],
        )  # fmt: skip
        return float(told(ran)["seconds"])

    pairs = alternate(
        lambda: seconds("extract"), lambda: seconds("bare-passes"), repeats=setting.repeats
    )
    decoding = [seconds("bare-files") for _ in pairs]
    yield Row.of_ratios(
        [theirs / ours for ours, theirs in pairs],
        name="feature_extraction",
        what="extract_features from image files into an empty cache, pictures a second",
        against="session.run alone on the same pictures, decoded beforehand",
        target=TARGET,
        bound="at least",
        details={
            "pictures": pictures,
            "ours_seconds": [ours for ours, _ in pairs],
            "bare_seconds": [theirs for _, theirs in pairs],
            "bare_with_decoding_seconds": decoding,
        },
    )
