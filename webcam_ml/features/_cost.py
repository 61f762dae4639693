"""What a backbone costs where it runs: the time of one picture, and the size of its file."""

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from webcam_ml.errors import WebcamMLError
from webcam_ml.features._backbone_graph import BackboneGraph, folder_of
from webcam_ml.features._features import start_session
from webcam_ml.store import write_atomically

logger = logging.getLogger(__name__)

COST_FILE = "milliseconds.json"
# A usual frame of a webcam: [batch, height, width, channels].
PICTURE = (1, 480, 640, 3)
PICTURES = 15
WARM_UP = 3


@dataclass(frozen=True)
class Cost:
    """What one backbone costs.

    Attributes:
        milliseconds: Of processor time for one picture of 640 × 480, preprocessing included, on one
            thread of the machine that measured it; three digits.
        megabytes: Size of the graph, beside which the head of a model file is nothing (10⁶ bytes).
    """

    milliseconds: float
    megabytes: float


def measure_cost(graph: BackboneGraph, *, cache: Path) -> Cost:
    """Measure a backbone once; what was measured is kept beside its graph.

    Processor time of the one thread that computes, and of it the median over some pictures: what else
    the machine does at the time hardly moves that. It stays until the graph or onnxruntime is another.

    Args:
        graph: The exported backbone.
        cache: Root of the caches.

    Raises:
        WebcamMLError: The folder of the graph cannot be written.
    """
    path = folder_of(cache, graph.key) / COST_FILE
    milliseconds = _kept(path, graph.fingerprint)
    if milliseconds is None:
        milliseconds = _measured(graph)
        content = {"fingerprint": graph.fingerprint, "milliseconds": milliseconds}
        try:
            write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
        except OSError as error:
            raise WebcamMLError(
                f"{path} cannot be written: {error}. Free some space or make the folder writable "
                "(WEBCAM_ML_CACHE names it)"
            ) from error
    return Cost(milliseconds=milliseconds, megabytes=round(len(graph.model) / 1e6, 1))


def _kept(path: Path, fingerprint: str) -> float | None:
    try:
        content = json.loads(path.read_bytes())
        if content["fingerprint"] == fingerprint:
            return float(content["milliseconds"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("%s is damaged (%s): measured again", path, error)
    return None


def _measured(graph: BackboneGraph) -> float:
    session = start_session(graph.model)
    picture = np.random.default_rng(0).integers(0, 256, PICTURE, dtype=np.uint8)
    times = []
    for _ in range(WARM_UP + PICTURES):
        # With one thread onnxruntime computes in the thread that calls it.
        began = time.thread_time()
        session.run(["features"], {"image": picture})
        times.append(time.thread_time() - began)
    return float(f"{1000 * np.median(times[WARM_UP:]):.3g}")
