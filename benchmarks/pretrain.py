"""Make a weights file: a resnet18 trained from scratch on drawn cameras that no other demo shows.

ImageNet weights cannot be had everywhere, and `weights: none` is no stand-in for them: its features
are random. This script draws webcams of a seed of their own, with many raters, and teaches a
resnet18 how the stars of a picture are shared out. The file is a state dict as torchvision writes it:

    python benchmarks/pretrain.py --output pretrained-resnet18.pt
    dagster … -c …    with  checkpoint: {config: {weights: pretrained-resnet18.pt}}

Minutes on two cores. The last cameras are held out, so that the log says what the network learned.
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torchvision import models

from webcam_ml.dataset.images import ImageCache, ImageSettings, build_image_index
from webcam_ml.demo import make_demo_data
from webcam_ml.features._backbones import IMAGENET_MEAN, IMAGENET_STD
from webcam_ml.features._network import Preprocess
from webcam_ml.labels import LabelDatabase, LabelQuery, read_labels

logger = logging.getLogger("pretrain")

SEED = 4096  # of a demo that nothing else draws
STARS = 5
BATCH = 32
HELD_OUT = 0.1  # of the cameras


def pictures_and_votes(
    folder: Path, *, webcams: int, snapshots: int, image_size: int
) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Draw a demo: uint8 [rows, 3, size, size], share of votes [rows, stars], webcam [rows]."""
    made = make_demo_data(
        folder / "demo",
        seed=SEED,
        webcams=webcams,
        snapshots=snapshots,
        raters_per_snapshot=8,
        unrated_fraction=0,
        image_width=max(160, image_size),
    )
    labels = read_labels(LabelDatabase(made.database), LabelQuery())
    cache = ImageCache(folder / "cache")
    index = build_image_index(labels.frame, cache=cache, settings=ImageSettings())
    rows = labels.frame.join(
        index.usable().select("snapshot_id", "sha256"), on="snapshot_id", maintain_order="left"
    )
    resize = Preprocess(image_size, IMAGENET_MEAN, IMAGENET_STD).resize
    pictures = torch.stack(
        [
            resize(torch.from_numpy(cache.decode(digest))[None])[0].round().to(torch.uint8)
            for digest in rows["sha256"]
        ]
    )
    votes = rows.select(f"stars_{star}" for star in range(1, STARS + 1)).to_numpy().astype(float)
    shares = torch.tensor(votes / votes.sum(axis=1, keepdims=True), dtype=torch.float32)
    return pictures, shares, rows["webcam_id"].to_numpy()


def normalised(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 [batch, 3, size, size] → float, as every backbone of the project sees it."""
    mean = 255.0 * torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    std = 255.0 * torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    return ((pictures.to(torch.float32) - mean) / std).contiguous(memory_format=torch.channels_last)


def train(
    pictures: torch.Tensor, shares: torch.Tensor, webcam: np.ndarray, *, epochs: int, seed: int
) -> dict[str, torch.Tensor]:
    """Train on most cameras, say how good it is on the others, and give the state dict."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    cameras = random.permutation(np.unique(webcam))
    held_out = np.isin(webcam, cameras[: round(HELD_OUT * len(cameras))])
    network = models.resnet18(num_classes=STARS).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.02)
    rows = np.flatnonzero(~held_out)
    steps = epochs * (len(rows) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=2e-3, total_steps=steps, pct_start=0.2
    )
    for epoch in range(epochs):
        began, losses = time.monotonic(), []
        network.train()
        order = random.permutation(rows)
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = torch.from_numpy(order[start : start + BATCH])
            batch = normalised(pictures[chosen])
            if random.random() < 0.5:
                batch = batch.flip(3)
            # Half the time where the processor has bfloat16, and the weights stay float32.
            with torch.autocast("cpu", torch.bfloat16):
                loss = torch.nn.functional.cross_entropy(network(batch), shares[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        logger.info(
            "epoch %d of %d: loss %.3f, held-out correlation with the mean rating %.3f, %.0f s",
            epoch + 1, epochs, np.mean(losses),
            correlation(network, pictures[held_out], shares[held_out]), time.monotonic() - began,
        )  # fmt: skip
    return {name: tensor.contiguous() for name, tensor in network.state_dict().items()}


def correlation(network: torch.nn.Module, pictures: torch.Tensor, shares: torch.Tensor) -> float:
    """Pearson correlation of expected and given mean rating."""
    network.eval()
    stars = torch.arange(1.0, STARS + 1)
    with torch.inference_mode():
        expected = torch.cat(
            [network(normalised(part)).softmax(1) @ stars for part in pictures.split(BATCH)]
        )
    return float(np.corrcoef(expected.numpy(), (shares @ stars).numpy())[0, 1])


def main() -> None:
    """Draw, train, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--webcams", type=int, default=600)
    parser.add_argument("--snapshots", type=int, default=2400)
    parser.add_argument("--image-size", type=int, default=112)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--random-state", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as folder:
        pictures, shares, webcam = pictures_and_votes(
            Path(folder),
            webcams=arguments.webcams,
            snapshots=arguments.snapshots,
            image_size=arguments.image_size,
        )
    state = train(pictures, shares, webcam, epochs=arguments.epochs, seed=arguments.random_state)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, arguments.output)
    logger.info("wrote %s", arguments.output)


if __name__ == "__main__":
    main()
