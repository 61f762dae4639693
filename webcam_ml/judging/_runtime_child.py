"""The application's side of `_runtime`: run as a script in a process of its own.

Imports `webcam_ml.scoring` and nothing else of the project: what works here works where there is no
torch. Reads requests from stdin (one byte for the kind, eight for the length, a picture's file) and
answers each with one line of JSON on stdout.
"""

import json
import struct
import sys
import time
from functools import cache
from typing import Any

from webcam_ml.scoring import OnnxModel, Scorer, decode_image

HEADER = struct.Struct(">cQ")


def main() -> None:
    """Answer until stdin ends."""
    scorer = Scorer.from_env()

    @cache
    def model() -> OnnxModel:
        if scorer.model is None:
            raise SystemExit(f"no model: {scorer.fallback_reason}")
        # The scorer uses one thread a picture, for a server; one picture at a time can use all.
        return OnnxModel.load(scorer.model.path)

    def served(content: bytes) -> dict[str, Any]:
        began = time.perf_counter()
        score = scorer.score(content)
        return {
            **score.to_dict(),
            "path": scorer.path,
            "fallbackReason": scorer.fallback_reason,
            "milliseconds": 1000 * (time.perf_counter() - began),
        }

    def raw(content: bytes) -> dict[str, Any]:
        # Pixel limits were applied when the picture was indexed.
        pixels = decode_image(content, max_pixels=sys.maxsize)
        return {"rawScore": float(model().score_array(pixels[None])[0])}

    answers = {b"s": served, b"r": raw}
    while header := sys.stdin.buffer.read(HEADER.size):
        kind, length = HEADER.unpack(header)
        answer = answers[kind](sys.stdin.buffer.read(length))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
