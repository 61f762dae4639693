"""The measured process: labels_raw, manifest_full and the three splits by the domain functions."""

import shutil
import sys
import time
from pathlib import Path

from benchmarks.measure import tell


def main() -> None:
    url, folder, source = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    phases: dict[str, float] = {}
    began = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        now = time.perf_counter()
        phases[name] = now - began
        began = now

    from webcam_ml.dataset import SPLIT_NAMES, build_manifest
    from webcam_ml.labels import LabelDatabase, LabelQuery, read_labels

    lap("import")
    labels = read_labels(LabelDatabase(url), LabelQuery(label_source=source))
    lap("read_labels")
    labels.save(folder)
    lap("save labels")
    manifest = build_manifest(labels)
    del labels
    lap("build_manifest")
    manifest.save(folder)
    lap("save manifest")
    for name in SPLIT_NAMES:
        manifest.split(name).save(folder)
    lap("split and save")
    tell(phases=phases, rows=manifest.frame.height)


if __name__ == "__main__":
    main()
