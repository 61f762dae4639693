"""The measured process: photographs that people took, through decoders, model and search for copies.

    python -m benchmarks.photographs MODEL CHECKPOINT

The files are those of Debian's wallpaper packages, under free licences (CC BY, CC BY-SA, GPL), where
these packages put them. None is in the repository.
"""

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measure import tell

PACKAGES = (
    "gnome-backgrounds mate-backgrounds ukui-wallpapers plasma-workspace-wallpapers "
    "lomiri-wallpapers lomiri-wallpapers-16.04 lomiri-wallpapers-20.04"
)
FOLDERS = (Path("/usr/share/backgrounds"), Path("/usr/share/wallpapers"))
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
# As wide as the drawn pictures of docs/duplicates.md.
WIDTH = 640

# What is no drawing: chosen by eye, named as `subject` does.
PHOTOGRAPHS = frozenset(
    re.findall(
        r"\w+",
        """
        aitzgorri_by_aitzol_berasategi aqua blinds bridge_by_sander_klootwijk bythewater
        coldripple colorfulcups darkesthour dragonfly_by_bolly dune eveningglow fallenleaf
        free_by_peter_nerlich freshflower friends_by_aitzol_berasategi garden greenmeadow
        greentock_by_peter_nerlich grey kite kleiber_by_lukas_baubkus ladybird
        life_by_aitzol_berasategi onestandsout path picosdeeuropa_by_aitzol_berasategi
        picture_0b_by_freespace picture_1a_by_freespace raindrops
        seeding_by_clements_engelhardt storm summer_1am sunset_by_aitzol_berasategi twowings
        wine_by_jakkub_mede wood yellowflower
        """,
    )
)


def wallpapers() -> list[Path]:
    """The picture files of the packages, in one order everywhere."""
    return sorted(
        path
        for folder in FOLDERS
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not path.is_symlink()
        and not path.stem.startswith("screenshot")
    )


def subject(path: Path) -> str:
    """What a file shows: its name, or its folder's, without size and shade."""
    if "contents" in path.parts:
        return path.parts[path.parts.index("contents") - 1].lower()
    return re.sub(r"([-_](l|d|light|dark|morning|\d+x\d+))+$", "", path.stem.lower())


def photographs(files: Sequence[Path]) -> dict[str, Path]:
    """Of each photograph its largest file."""
    largest: dict[str, Path] = {}
    for path in sorted(files, key=lambda path: path.stat().st_size):
        if subject(path) in PHOTOGRAPHS:
            largest[subject(path)] = path
    return dict(sorted(largest.items()))


def copies(chosen: Mapping[str, Path]) -> dict[str, Any]:
    """Plant an altered copy of each photograph among them all, as docs/duplicates.md does."""
    from webcam_ml.scoring import decode_image
    from webcam_ml_tests.dataset.planted import (
        ALTERATIONS,
        COMBINATIONS,
        COPIES_FROM,
        Pictures,
        flagged,
    )

    pictures = []
    for path in chosen.values():
        picture = Image.fromarray(decode_image(path.read_bytes()))
        picture.thumbnail((WIDTH, WIDTH))
        pictures.append(picture)
    clean = Pictures.of(pictures, first_webcam=0)
    found, missed = {}, {}
    for name, alter in (ALTERATIONS | COMBINATIONS).items():
        planted = Pictures.of([alter(one) for one in pictures], first_webcam=COPIES_FROM)
        pairs = set((clean + planted).match().pairs.select("webcam_a", "webcam_b").rows())
        hits = [(place, COPIES_FROM + place) in pairs for place in range(len(pictures))]
        found[name] = float(np.mean(hits))
        missed[name] = [one for one, hit in zip(chosen, hits, strict=True) if not hit]
    return {
        "photographs": len(pictures),
        "flagged": int(flagged(clean).sum()),
        "found": found,
        "missed": missed,
        "single": list(ALTERATIONS),
    }


def differences(model: Path, checkpoint: Path, files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Each file through Python's decoder, Node's decoder, the model in both, and torch."""
    from webcam_ml.export import differences_from_torch
    from webcam_ml.scoring import ImageError, OnnxModel, decode_image
    from webcam_ml.training import Checkpoint

    data, trained = model.read_bytes(), Checkpoint.load(checkpoint).model
    scorer = OnnxModel.load(model)
    for path, theirs in zip(files, node(model, files), strict=True):
        said: dict[str, Any] = {"name": path.name}
        try:
            pixels = decode_image(path.read_bytes())
        except ImageError as error:
            yield said | {"python": error.reason, "node": theirs.get("error")}
            continue
        batch = pixels[None]
        raw = float(scorer.score_array(batch)[0])
        yield said | {
            "python": None,
            "node": theirs.get("error"),
            "equal_pixels": theirs.get("sha256") == hashlib.sha256(pixels).hexdigest(),
            "node_apart": abs(round(raw, 6) - theirs.get("rawScore", np.inf)),
            "torch_apart": differences_from_torch(data, trained, {"one": batch})["one"],
        }


def node(model: Path, files: Sequence[Path]) -> list[dict[str, Any]]:
    """What clients/node makes of the files."""
    from webcam_ml_tests.integration.node_client import build_client, run

    build_client()
    script = Path(__file__).with_suffix(".mjs")
    asked = json.dumps({"model": str(model), "files": [str(path) for path in files]})
    said = run(["node", str(script)], folder=script.parent, what="Node failed", stdin=asked)
    answers: list[dict[str, Any]] = json.loads(said)
    return answers


if __name__ == "__main__":
    everything = wallpapers()
    tell(
        files=list(differences(Path(sys.argv[1]), Path(sys.argv[2]), everything)),
        copies=copies(photographs(everything)),
    )
