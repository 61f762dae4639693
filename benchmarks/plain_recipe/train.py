"""Fine-tune: python -m benchmarks.plain_recipe.train URL WEIGHTS SIZE EPOCHS FOLDER."""

import copy
import json
import sys
import time
from pathlib import Path

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.plain_recipe.data import BATCH, build_network, load_pictures, read_rows


def main() -> None:
    url, weights, size, epochs, folder = sys.argv[1:]
    torch.manual_seed(0)
    rows = {split: read_rows(url, split) for split in ("train", "val")}
    pictures = {split: load_pictures([row[3] for row in rows[split]], int(size)) for split in rows}
    targets = {split: torch.tensor([row[2] for row in rows[split]]) for split in rows}
    network = build_network(Path(weights))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    best, best_loss, seconds = copy.deepcopy(network.state_dict()), float("inf"), []
    for _ in range(int(epochs)):
        began = time.perf_counter()
        network.train()
        for batch in torch.randperm(len(targets["train"])).split(BATCH):
            if len(batch) == 1:
                continue  # batch norm needs two
            logits = network(pictures["train"][batch]).squeeze(1)
            loss = binary_cross_entropy_with_logits(logits, targets["train"][batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.inference_mode():
            logits = torch.cat([network(part).squeeze(1) for part in pictures["val"].split(BATCH)])
            loss = float(binary_cross_entropy_with_logits(logits, targets["val"]))
        if loss < best_loss:
            best, best_loss = copy.deepcopy(network.state_dict()), loss
        seconds.append(time.perf_counter() - began)
    torch.save(best, Path(folder) / "recipe.pt")
    print(json.dumps({"epoch_seconds": seconds, "train_rows": len(rows["train"])}))


if __name__ == "__main__":
    main()
