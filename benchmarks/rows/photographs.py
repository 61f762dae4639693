"""Photographs that people took, beside what is drawn: parity, and copies that are found."""

from collections.abc import Iterator

from benchmarks.measure import Row, RowFailed, run_module, told
from benchmarks.photographs import PACKAGES, PHOTOGRAPHS, photographs, wallpapers
from benchmarks.setting import Setting

MOST_APART = 1e-4
MOST_FLAGGED, LEAST_FOUND = 0.01, 0.95


def measure_photographs(setting: Setting) -> Iterator[Row]:
    if missing := PHOTOGRAPHS - photographs(wallpapers()).keys():
        raise RowFailed(
            f"{len(missing)} photographs are not here ({', '.join(sorted(missing)[:3])}, …): "
            f"apt-get install --no-install-recommends {PACKAGES}"
        )
    project = setting.finished_project()
    ran = run_module(
        "benchmarks.photographs",
        project.latest("onnx_model") / "model.onnx",
        project.latest("checkpoint"),
    )
    said = told(ran)
    files, copies = said["files"], said["copies"]
    read = [one for one in files if one["python"] is None and one["node"] is None]
    details = {
        "files": len(files),
        "read_by_both": len(read),
        "refused": [one for one in files if one not in read],
        "other_pixels": [one["name"] for one in read if not one["equal_pixels"]],
    }
    for other, key in (("torch", "torch_apart"), ("Node", "node_apart")):
        yield Row.of_ratios(
            [max(one[key] for one in read) / MOST_APART],
            name=f"photographs_parity_{other.lower()}",
            what="largest difference of raw scores on Debian's wallpapers, over 1e-4",
            against=f"{other} on the same files",
            target=1.0,
            bound="at most",
            details=details,
        )
    yield Row.of_ratios(
        [copies["flagged"] / copies["photographs"]],
        name="photographs_flagged",
        what="share of photographs that are taken for another one",
        against="no two of them the same, all within one hour",
        target=MOST_FLAGGED,
        bound="at most",
        details=copies,
    )
    yield Row.of_ratios(
        [sum(copies["found"][name] for name in copies["single"]) / len(copies["single"])],
        name="photographs_found",
        what="share of planted copies that are found, over seven alterations",
        against="copies that were planted",
        target=LEAST_FOUND,
        bound="at least",
        details=copies,
    )
