"""The application's runtime in a fresh process: what scores the models that are compared."""

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Lock, Timer
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

import webcam_ml
from webcam_ml.dataset.images import ImageCache
from webcam_ml.errors import WebcamMLError
from webcam_ml.judging._evidence import Serving
from webcam_ml.judging._runtime_child import HEADER, LENGTH
from webcam_ml.limits import available_cores
from webcam_ml.progress import track
from webcam_ml.scoring import scoring_environment

SERVED_PICTURES = 8
# Rounding to six decimals is half a millionth; the stored number is a bound on this grid.
STORED_STEP = 1e-5


# For one picture of a core, with the first also for the start of the process. One run of the model has
# less.
ANSWER_SECONDS = 120.0
# In one request: at its end a core may wait for the others.
PICTURES_A_CORE = 8


class RuntimeFailedError(WebcamMLError):
    """The runtime did not serve a model file."""


@dataclass(frozen=True)
class ModelFile:
    """A model.onnx with its model.meta.json in one folder, and what it should be."""

    path: Path
    model_version: str
    sha256: str


class RuntimeProcess:
    """One model in a process that imports `webcam_ml.scoring` only; started when first asked.

    Threads may share it: they are answered one after the other. Use as a context manager; the
    process ends with it.
    """

    def __init__(self, model: ModelFile) -> None:
        self._model = model
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = Lock()
        self._gave_up: str | None = None
        self._resources = ExitStack()
        folder = self._resources.enter_context(TemporaryDirectory(prefix="webcam-ml-"))
        self._errors = Path(folder) / "stderr"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._resources.close()

    def raw_scores(self, contents: Sequence[bytes]) -> list[float]:
        """Score picture files, all digits, on all cores.

        Raises:
            RuntimeFailedError: The process could not.
        """
        scores: list[float] = self._ask(b"r", contents)
        return scores

    def serve(self, content: bytes) -> Mapping[str, Any]:
        """Score one picture file as the application does: the keys of the contract and the path.

        Raises:
            RuntimeFailedError: The process could not.
        """
        served: Mapping[str, Any] = self._ask(b"s", [content])[0]
        return served

    def _ask(self, kind: bytes, contents: Sequence[bytes]) -> list[Any]:
        with self._turn:
            if self._gave_up is not None:
                raise RuntimeFailedError(self._gave_up)
            return self._answer(kind, contents)

    def _answer(self, kind: bytes, contents: Sequence[bytes]) -> list[Any]:
        process = self._process = self._process or self._start()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the process was started without pipes")
        too_late = Event()

        def end() -> None:
            too_late.set()
            process.kill()

        seconds = ANSWER_SECONDS * math.ceil(len(contents) / available_cores())
        watch = Timer(seconds, end)
        watch.start()
        try:
            process.stdin.write(HEADER.pack(kind, len(contents)))
            for content in contents:
                process.stdin.write(LENGTH.pack(len(content)) + content)
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            watch.cancel()
        if not line:
            process.wait()
            # What nobody read would be written once more when the pipe is closed at the end.
            with suppress(BrokenPipeError):
                process.stdin.close()
            said = self._errors.read_text(errors="replace").strip().splitlines()
            # The message is stored, so it must not depend on where the store is.
            last = said[-1].replace(f"{self._model.path.parent}{os.sep}", "") if said else "silence"
            if too_late.is_set():
                last = f"no answer after {seconds:g} seconds"
            self._gave_up = f"the scoring process of {self._model.model_version} gave up: {last}"
            raise RuntimeFailedError(self._gave_up)
        answer: list[Any] = json.loads(line)
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        package = Path(webcam_ml.__file__).parents[1]
        inherited = os.environ.get("PYTHONPATH")
        environment = {
            **os.environ,
            **scoring_environment(self._model.path, self._model.model_version),
            "PYTHONPATH": os.pathsep.join([str(package), *([inherited] if inherited else [])]),
        }
        # -P: the script's own folder must not be importable, or its neighbours could be.
        command = [sys.executable, "-P", str(Path(__file__).with_name("_runtime_child.py"))]
        with self._errors.open("wb") as errors:
            process = self._resources.enter_context(
                subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=environment,
                )
            )
        # Leaving the process's context closes its pipes and waits; it must not wait for an answer.
        self._resources.callback(process.kill)
        return process


def score_in_runtime(
    runtime: RuntimeProcess, digests: Sequence[str], *, images: ImageCache
) -> NDArray[np.float64]:
    """Score pictures by the runtime, each from its stored bytes.

    No cache is asked and none is filled: these scores decide what goes live, and whoever can write
    a cache could otherwise write the verdict.

    Args:
        runtime: Holds the model.
        digests: SHA-256 of each picture; one that occurs twice is scored once.
        images: Where the pictures are; each is compared with its digest when it is read.

    Returns:
        raw_score of each picture, [pictures], in 0–1.

    Raises:
        RuntimeFailedError: The process could not score them.
        DamagedImageError: A picture is not the one that its digest names.
    """
    distinct = sorted(set(digests))
    scores = dict(
        track(
            _scored(runtime, distinct, images), total=len(distinct), what="scores", unit="pictures"
        )
    )
    return np.array([scores[digest] for digest in digests])


def _scored(
    runtime: RuntimeProcess, digests: Sequence[str], images: ImageCache
) -> Iterator[tuple[str, float]]:
    at_once = PICTURES_A_CORE * available_cores()
    for start in range(0, len(digests), at_once):
        part = digests[start : start + at_once]
        yield from zip(part, runtime.raw_scores([images.read(one) for one in part]), strict=True)


def watch_serving(
    runtime: RuntimeProcess,
    model: ModelFile,
    expected: Mapping[str, float],
    *,
    images: ImageCache,
) -> tuple[Serving, float | None]:
    """Let the runtime serve a few pictures, and compare with the scores that are judged.

    Args:
        runtime: Holds the model.
        model: The model that should answer.
        expected: raw_score by SHA-256 of the picture.
        images: Where the pictures are.

    Returns:
        What was seen, and the median time a picture in milliseconds, None if none was served.
    """
    chosen = sorted(expected)[:SERVED_PICTURES]
    if not chosen:
        return Serving(pictures=0, at_most=None, reason="there is no test picture to serve"), None
    largest, milliseconds = 0.0, []
    try:
        for digest in chosen:
            answer = runtime.serve(images.read(digest))
            if (answer["path"], answer["modelVersion"]) != ("onnx", model.model_version):
                raise RuntimeFailedError(
                    f"{answer['modelVersion']} spoke instead of {model.model_version}: "
                    f"{answer['fallbackReason']}".replace(f"{model.path.parent}{os.sep}", "")
                )
            largest = max(largest, abs(float(answer["rawScore"]) - expected[digest]))
            milliseconds.append(float(answer["milliseconds"]))
    except RuntimeFailedError as error:
        return Serving(pictures=len(milliseconds), at_most=None, reason=str(error)), None
    at_most = round(np.ceil(largest / STORED_STEP) * STORED_STEP, 5)
    return (
        Serving(pictures=len(chosen), at_most=float(at_most), reason=None),
        statistics.median(milliseconds),
    )
