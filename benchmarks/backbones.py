"""What backbones cost on this machine: the table of ``docs/backbones.md``.

``python -m benchmarks.backbones docs/backbones.md`` measures, and writes the section anew between its two
marks. Settings are the defaults but for two: weights are seeded, since what a network costs does not hang
on them, and DINOv2 gets fewer pixels than the 518 that it was made for.
"""

import sys
import tempfile
from pathlib import Path

import onnx

from webcam_ml.export._meta import OLDEST_RUNTIMES
from webcam_ml.features import (
    BACKBONES,
    BackboneSpec,
    get_backbone,
    measure_cost,
    prepare_backbone,
)

BEGIN = "<!-- backbones: made by python -m benchmarks.backbones -->"
END = "<!-- end of backbones -->"
OF_TIMM = (
    "timm/tf_efficientnet_lite0.in1k",
    "timm/convnext_tiny.in12k_ft_in1k",
    "timm/vit_small_patch14_dinov2.lvd142m",
    "timm/vit_base_patch16_siglip_224.v2_webli",
)
PIXELS = {"timm/vit_small_patch14_dinov2.lvd142m": 224}
INTRODUCTION = """\
One picture of 640 × 480 after the other, with the default settings (the last three stages, or all that there
are; weights stored as fp16). Milliseconds are processor time of one thread, the median of 15 pictures: what
else a machine does hardly moves them. Another machine has other ones; the ratios say more.
"""
COLUMNS = (
    "`model_name`",
    "pixels",
    "stages",
    "features",
    "milliseconds",
    "pictures a second",
    "file",
    "licence of the weights",
    "resized",
)


def row(name: str, cache: Path) -> str:
    """Measure one backbone, as `model_name: auto` does."""
    backbone = get_backbone(name)
    size = PIXELS.get(name, backbone.image_size)
    spec = BackboneSpec(model_name=name, weights="none", image_size=size)
    graph = prepare_backbone(spec, cache=cache)
    cost = measure_cost(graph, cache=cache)
    cells = (
        f"`{name}`",
        size,
        spec.feature_stages,
        count_features(graph.model),
        f"{cost.milliseconds:g}",
        f"{1000 / cost.milliseconds:.1f}",
        f"{cost.megabytes:.0f} MB",
        backbone.licence,
        backbone.interpolation,
    )
    return f"| {' | '.join(map(str, cells))} |"


def count_features(model: bytes) -> int:
    """Read from an exported graph how many features it gives."""
    outputs = {one.name: one.type for one in onnx.load_from_string(model).graph.output}
    return outputs["features"].tensor_type.shape.dim[1].dim_value


def main() -> None:
    """Write the section into the page that the command line names."""
    page = Path(sys.argv[1])
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for name in (*BACKBONES, *OF_TIMM):
        with tempfile.TemporaryDirectory() as folder:
            lines.append(row(name, Path(folder)))
        print(lines[-1], flush=True)
    oldest = ", ".join(f"{package} {version}" for package, version in OLDEST_RUNTIMES.items())
    lines.append(f"\nThe oldest runtimes that read any of them: {oldest}.")
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    section = "\n".join((before + BEGIN, INTRODUCTION, *lines, END + after))
    page.write_text(section, encoding="utf-8")


if __name__ == "__main__":
    main()
