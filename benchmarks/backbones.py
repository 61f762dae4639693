"""What backbones cost on this machine: the table of ``docs/backbones.md``.

``python -m benchmarks.backbones docs/backbones.md`` measures, and writes it anew between its two marks.
Weights are seeded: what a network costs does not hang on them.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from webcam_ml.export._meta import OLDEST_RUNTIMES
from webcam_ml.features import BACKBONES, BackboneSpec, get_backbone, prepare_backbone

BEGIN = "<!-- backbones: made by python -m benchmarks.backbones -->"
END = "<!-- end of backbones -->"
OF_TIMM = (
    "timm/tf_efficientnet_lite0.in1k",
    "timm/convnext_tiny.in12k_ft_in1k",
    "timm/vit_small_patch14_dinov2.lvd142m",
    "timm/vit_base_patch16_siglip_224.v2_webli",
)
SMALLEST_DINO = 224
PICTURES = 12
WARM_UP = 2


def row(name: str, cache: Path) -> str:
    """Measure one backbone, one picture at a time on one thread."""
    import onnxruntime

    backbone = get_backbone(name)
    size = SMALLEST_DINO if "dinov2" in name else backbone.image_size
    spec = BackboneSpec(model_name=name, weights="none", image_size=size)
    graph = prepare_backbone(spec, cache=cache)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.model, options)
    features = session.get_outputs()[0].shape[1]
    picture = np.random.default_rng(0).integers(0, 256, (1, 480, 640, 3), dtype=np.uint8)
    times = []
    for _ in range(WARM_UP + PICTURES):
        # Of the processor, for the one thread that computes: what else the machine does matters less.
        began = time.thread_time()
        session.run(["features"], {"image": picture})
        times.append(time.thread_time() - began)
    rate = 1 / float(np.median(times[WARM_UP:]))
    megabytes = len(graph.model) / 1e6
    return (
        f"| `{name}` | {size} | {spec.feature_stages} | {features} | {rate:.1f} | {megabytes:.0f} MB | "
        f"{backbone.licence} | {backbone.interpolation} |"
    )


def main() -> None:
    """Write the table into the page that the command line names."""
    page = Path(sys.argv[1])
    rows = [
        "| `model_name` | pixels | stages | features | pictures a second | file | licence | resized |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in (*BACKBONES, *OF_TIMM):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(row(name, Path(folder)))
        print(rows[-1], flush=True)
    oldest = ", ".join(f"{package} {version}" for package, version in OLDEST_RUNTIMES.items())
    rows.append(f"\nThe oldest runtimes that read any of them: {oldest}.")
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text("\n".join((before + BEGIN, *rows, END + after)), encoding="utf-8")


if __name__ == "__main__":
    main()
