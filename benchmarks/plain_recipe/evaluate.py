"""Score the test split: python -m benchmarks.plain_recipe.evaluate URL SIZE FOLDER."""

import csv
import json
import sys
from pathlib import Path

import torch
from sklearn.metrics import roc_auc_score

from benchmarks.plain_recipe.data import BATCH, build_network, load_pictures, read_rows


def main() -> None:
    url, size, folder = sys.argv[1:]
    rows = read_rows(url, "test")
    network = build_network()
    network.load_state_dict(torch.load(Path(folder) / "recipe.pt", weights_only=True))
    network.eval()
    pictures = load_pictures([row[3] for row in rows], int(size))
    with torch.inference_mode():
        scores = torch.cat([network(part).squeeze(1) for part in pictures.split(BATCH)]).sigmoid()
    with (Path(folder) / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["snapshot_id", "webcam_id", "target", "score", "file"])
        writer.writerows(
            (snapshot, webcam, target, float(score), path)
            for (snapshot, webcam, target, path), score in zip(rows, scores, strict=True)
        )
    print(json.dumps({"auc": roc_auc_score([row[2] for row in rows], scores.numpy())}))


if __name__ == "__main__":
    main()
