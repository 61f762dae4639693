"""The application's side of `_runtime`: run as a script in a process of its own.

Imports `webcam_ml.scoring` and nothing else of the project: what works here works where there is no
torch. Reads requests from stdin (one byte for the kind and eight for the number of pictures, then
eight for the length of each file and the file) and answers each with one line of JSON on stdout, a
list. The pictures of a request are worked on at once, one on each core.
"""

import json
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from webcam_ml.limits import available_cores
from webcam_ml.scoring import Scorer, decode_image

HEADER = struct.Struct(">cQ")
LENGTH = struct.Struct(">Q")


def main() -> None:
    """Answer until stdin ends."""
    scorer = Scorer.from_env()

    def served(content: bytes) -> dict[str, Any]:
        began = time.perf_counter()
        score = scorer.score(content)
        return {
            **score.to_dict(),
            "path": scorer.path,
            "fallbackReason": scorer.fallback_reason,
            "milliseconds": 1000 * (time.perf_counter() - began),
        }

    def raw(content: bytes) -> float:
        if scorer.model is None:
            raise SystemExit(f"no model: {scorer.fallback_reason}")
        # Pixel limits were applied when the picture was indexed.
        pixels = decode_image(content, max_pixels=sys.maxsize)
        return float(scorer.model.score_array(pixels[None])[0])

    answers = {b"s": served, b"r": raw}
    read = sys.stdin.buffer.read
    with ThreadPoolExecutor(available_cores()) as pool:
        while header := read(HEADER.size):
            kind, count = HEADER.unpack(header)
            files = [read(*LENGTH.unpack(read(LENGTH.size))) for _ in range(count)]
            print(json.dumps(list(pool.map(answers[kind], files))), flush=True)


if __name__ == "__main__":
    main()
