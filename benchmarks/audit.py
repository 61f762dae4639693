"""How an audit of served scores does on honest and mistaken applications: tables of docs/monitoring.md.

Small models are trained on drawn pictures, an application scores them in its own way, with code of its own,
and the audit judges what it stored, by the functions of the graph and from the same draws of rows.

    python -m benchmarks.audit --folder /tmp/audit
"""

import argparse
import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from webcam_ml.features import get_backbone
from webcam_ml.monitoring import (
    CLEARLY_DIFFERENT,
    LARGEST_CHANCE,
    SKEWS,
    benign,
    chance_of,
    demanded,
    differs,
    explain,
    explain_by_model,
    noise_of,
    skewed,
)
from webcam_ml.scoring import decode_image
from webcam_ml_tests.live.models import Made, make_all
from webcam_ml_tests.monitoring.application import (
    bgr,
    cropped_and_not_normalised,
    decoded,
    encoded_again,
    scores_of,
    sharpened,
)
from webcam_ml_tests.world import SHARED_VARIABLE

Scores = npt.NDArray[np.float64]
PICTURES, AUDITS = 300, 1_000


def covered(content: bytes) -> npt.NDArray[np.uint8]:
    """What sharp does to 224 × 224 unless it is told otherwise: cover, by Lanczos."""
    picture = Image.fromarray(decoded(content))
    scale = 224 / min(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    larger = picture.resize(size, Image.Resampling.LANCZOS)
    left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
    return np.asarray(larger.crop((left, top, left + 224, top + 224)))


def contained(content: bytes) -> npt.NDArray[np.uint8]:
    """The same with fit: contain."""
    picture = Image.fromarray(decoded(content))
    scale = 224 / max(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    square = Image.new("RGB", (224, 224))
    square.paste(picture, ((224 - picture.width) // 2, (224 - picture.height) // 2))
    return np.asarray(square)


def unnormalised(content: bytes) -> npt.NDArray[np.uint8]:
    """Pixels that the network sees as 0 to 1."""
    as_bytes = 255 * (decoded(content) / 255 * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406])
    return np.round(as_bytes).astype(np.uint8)


Prepare = Callable[[bytes], npt.NDArray[np.uint8]]
HONEST: Mapping[str, Prepare] = {
    "Pillow's decoder": decoded,
    "a copy of quality 85": encoded_again,
    "a copy of quality 95": lambda content: encoded_again(content, 95),
    "smaller by a tenth, Lanczos": sharpened,
}
MISTAKEN: Mapping[str, tuple[Prepare, tuple[str, ...]]] = {
    "crop and no normalisation": (
        cropped_and_not_normalised,
        ("crop to cover", "no normalisation"),
    ),
    "cover to 224, Lanczos (sharp's default)": (covered, ("crop to cover", "resize by Lanczos")),
    "contain to 224, Lanczos, on black": (contained, ("letterbox", "resize by Lanczos")),
    "no normalisation": (unnormalised, ("no normalisation",)),
    "BGR": (bgr, ("BGR",)),
}


class World:
    """Scores of the same pictures by the file, by its benign copies, and in every mistaken way."""

    def __init__(self, made: Made, contents: list[bytes]) -> None:
        self._exported = made.exported
        backbone = get_backbone(made.exported.meta.model_name)
        pixels = [decode_image(one) for one in contents]
        self.own = self.score(pixels)
        copies = [self.score(list(copy)) for copy in zip(*map(benign, pixels), strict=True)]
        self.copies = np.stack(copies)
        prepared = [
            skewed(one, content, mean=backbone.mean, std=backbone.std)
            for one, content in zip(pixels, contents, strict=True)
        ]
        self.guesses = {skew: self.score([one[skew] for one in prepared]) for skew in SKEWS}

    def score(self, pictures: list[npt.NDArray[np.uint8]]) -> Scores:
        return np.array(scores_of(self._exported, pictures))

    def judge(self, stored: Scores, drawn: npt.NDArray[np.int64]) -> tuple[str, ...] | None:
        """What an audit of these rows says: nothing, a mistake by its name, or no reason."""
        own, said = self.own[drawn], stored[drawn]
        noise = noise_of(own, self.copies[:, drawn])
        other = differs(said, own, noise)
        alarm = chance_of(int(other.sum()), len(drawn)) < LARGEST_CHANCE
        demand = CLEARLY_DIFFERENT if alarm else demanded(said, own, noise)
        if demand is None:
            return None
        for places in (drawn[:40], drawn[other][:40]):
            guesses = {skew: scores[places] for skew, scores in self.guesses.items()}
            found = explain(stored[places], self.own[places], guesses, attempts=2,
                            demand=demand)  # fmt: skip
            if found is not None:
                return found.name
        return () if alarm else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True)
    folder = parser.parse_args().folder
    os.environ[SHARED_VARIABLE] = str(folder)
    folder.mkdir(parents=True, exist_ok=True)
    made = make_all(folder / "worlds")
    world_of = made["first"].world
    digests = world_of.index.usable()["sha256"].head(PICTURES)
    contents = [world_of.images.read(digest) for digest in digests]
    world = World(made["first"], contents)
    random = np.random.default_rng(0)

    def draw(rows: int) -> npt.NDArray[np.int64]:
        return random.choice(len(contents), rows, replace=False)

    print(
        "| an honest application has | largest difference | rows that differ | alarms in 1,000 audits |"
    )
    print("|---|---|---|---|")
    for name, prepare in HONEST.items():
        stored = world.score([prepare(one) for one in contents])
        other = differs(stored, world.own, noise_of(world.own, world.copies))
        alarms = sum(
            world.judge(stored.round(number % 5 + 2), draw((20, 60)[number % 2])) is not None
            for number in range(AUDITS)
        )
        largest = np.abs(stored - world.own).max()
        print(f"| {name} | {largest:.4f} | {other.sum()} of {len(other)} | {alarms} |")

    print(
        "\n| mistake | median difference | 10 pictures | 20 pictures | 60 pictures | named otherwise (20) |"
    )
    print("|---|---|---|---|---|---|")
    for name, (prepare, right) in MISTAKEN.items():
        stored = world.score([prepare(one) for one in contents])
        cells = [name, f"{np.median(np.abs(stored - world.own)):.3f}"]
        said: Counter[tuple[str, ...] | None] = Counter()
        for rows in (10, 20, 60):
            said = Counter(world.judge(stored, draw(rows)) for _ in range(200))
            found = 1 - said[None] / 200
            cells.append(f"found {found:.2f}, named {said[right] / 200:.2f}")
            if rows == 20:
                others = {one: n for one, n in said.items() if one not in (None, right)}
        cells.append(
            ", ".join(
                f"{' and '.join(one) or 'no reason'} {n / 200:.2f}" for one, n in others.items()
            )
            or "–"
        )
        print("| " + " | ".join(cells) + " |")

    print("\n| scores of | under the name of | median gap | found from 20 pictures |")
    print("|---|---|---|---|")
    pixels = [decode_image(one) for one in contents[:100]]
    scored = {name: np.array(scores_of(one.exported, pixels)) for name, one in made.items()}
    for loaded, stored in scored.items():
        for named, own in scored.items():
            if named == loaded:
                continue
            others = {name: scores for name, scores in scored.items() if name != named}
            found = 0
            for _ in range(200):
                drawn = random.choice(100, 20, replace=False)
                picked = {name: scores[drawn] for name, scores in others.items()}
                by = explain_by_model(stored[drawn].round(6), own[drawn], picked)
                found += by is not None and by.name == (loaded,)
            print(
                f"| {loaded} | {named} | {np.median(np.abs(stored - own)):.3f} | {found / 200:.2f} |"
            )


if __name__ == "__main__":
    main()
