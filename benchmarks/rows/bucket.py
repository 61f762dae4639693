"""What it costs to let the store be a bucket."""

import shutil
import uuid
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.measure import Row, alternate
from benchmarks.setting import Setting
from webcam_ml_tests.seaweed import BUCKET, running_s3


def measure_bucket(setting: Setting) -> Iterator[Row]:
    """The whole graph by one command: nothing stored and no picture there; backbone and features are."""
    finished = setting.finished_project()
    project = setting.project("scale")
    with running_s3(setting.folder / "seaweedfs") as server:

        def without_pictures() -> None:
            for folder in (project.artifacts, project.cache):
                shutil.rmtree(folder, ignore_errors=True)
            left_out = shutil.ignore_patterns("images", "mirror")
            shutil.copytree(finished.cache, project.cache, ignore=left_out)

        def folder() -> float:
            without_pictures()
            return project.materialize().seconds

        def s3() -> float:
            without_pictures()
            address = f"s3://{BUCKET}/{uuid.uuid4().hex}"
            there = replace(project, more={**server.settings(), "WEBCAM_ML_ARTIFACTS": address})
            return there.materialize().seconds

        folder()  # the first run of an instance makes its tables
        pairs = alternate(s3, folder, repeats=1 if setting.quick else 3)
    yield Row.of_ratios(
        [with_s3 / with_folder for with_s3, with_folder in pairs],
        name="s3_against_folder",
        what="the whole graph, features in the cache, into an empty bucket of SeaweedFS on this machine, "
        "its pictures too",
        against="the same into an empty folder",
        target=1.2,
        bound="at most",
        details={
            "s3_seconds": [one for one, _ in pairs],
            "folder_seconds": [one for _, one in pairs],
            "pictures": len(finished.pictures()),
        },
    )
