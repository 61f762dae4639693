"""Write the ONNX file: python -m benchmarks.plain_recipe.export SIZE FOLDER."""

import sys
from pathlib import Path

import torch

from benchmarks.plain_recipe.data import build_network


def main() -> None:
    size, folder = int(sys.argv[1]), Path(sys.argv[2])
    network = build_network()
    network.load_state_dict(torch.load(folder / "recipe.pt", weights_only=True))
    network.eval()
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, size, size),),
        str(folder / "recipe.onnx"),
        input_names=["image"],
        output_names=["logit"],
        dynamo=True,
        external_data=False,
    )


if __name__ == "__main__":
    main()
