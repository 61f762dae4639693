"""Rows and pictures of one split."""

import hashlib
import sqlite3
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision import models

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 32


def read_rows(url: str, split: str) -> list[tuple[int, int, float, str]]:
    """(snapshot, webcam, positive, file) of the labelled snapshots of a split whose file is there."""
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        found = connection.execute(
            "SELECT id, webcam_id, calculated_rating, firebase_url FROM webcam_snapshots s "
            "WHERE calculated_rating IS NOT NULL AND firebase_url IS NOT NULL AND EXISTS "
            "(SELECT 1 FROM webcam_snapshot_ratings r WHERE r.snapshot_id = s.id "
            "AND r.rating IS NOT NULL) ORDER BY id"
        ).fetchall()
    return [
        (snapshot, webcam, float(rating >= 4.0), file)
        for snapshot, webcam, rating, file in found
        if split_of(webcam) == split and readable(file)
    ]


def readable(file: str) -> bool:
    try:
        with Image.open(file) as image:
            image.load()
    except OSError:
        return False
    return True


def split_of(webcam: int) -> str:
    bucket = int(hashlib.sha256(f"{webcam}|20260212".encode()).hexdigest()[:8], 16) % 100
    return "train" if bucket < 70 else "val" if bucket < 85 else "test"


def load_pictures(files: list[str], size: int) -> torch.Tensor:
    """float32 [pictures, 3, size, size], normalised."""
    pictures = np.empty((len(files), size, size, 3), np.uint8)
    for place, file in enumerate(files):
        with Image.open(file) as image:
            pictures[place] = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    return (tensor - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def build_network(weights: Path | None = None) -> nn.Module:
    """A resnet18 with one output; with weights, all but its last layer from them."""
    network = models.resnet18()
    if weights is not None:
        state = torch.load(weights, weights_only=True)
        state = {name: value for name, value in state.items() if not name.startswith("fc.")}
        network.load_state_dict(state, strict=False)
    network.fc = nn.Linear(network.fc.in_features, 1)
    return network
