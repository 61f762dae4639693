"""Whether an image is scored by the model or by the baseline; each score names which it was.

Two kinds of failure are kept apart here. A model that cannot be loaded or run is answered with the
baseline and a reason in the log. An image that cannot be decoded is an error of that image, in
every mode: the baseline would not need its pixels, but a score for something that is no picture
is of no use, and which images fail should not depend on the mode.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from webcam_ml.errors import WebcamMLError
from webcam_ml.limits import MAX_BYTES, MAX_PIXELS, available_cores
from webcam_ml.scoring._decode import ImageInfo, decode_image_with_info
from webcam_ml.scoring._files import NotARegularFileError, open_regular_file
from webcam_ml.scoring._image_error import ImageError, check_pixels
from webcam_ml.scoring._model import OnnxModel
from webcam_ml.scoring._onnx_file import ModelError
from webcam_ml.scoring._score import BASELINE_VERSION, Score, WebcamMetadata, baseline_score

logger = logging.getLogger(__name__)

ImageSource = bytes | str | os.PathLike[str] | NDArray[np.uint8] | Callable[[], bytes]
"""A file's content, its path, decoded pixels [height, width, 3] RGB, or a function that fetches
the content when a worker gets to it."""

ScoringPath = Literal["baseline", "onnx"]

_WAITING_PER_THREAD = 4


@dataclass(frozen=True)
class ScoredImage:
    """A score and how it came about.

    Attributes:
        score: What is stored.
        path: Which path ran.
        fallback_reason: Why the baseline was used although a model was asked for; None otherwise.
        info: Size and format of the image file; None for pixels that came as an array.
    """

    score: Score
    path: ScoringPath
    fallback_reason: str | None
    info: ImageInfo | None


class Scorer:
    """Scores images as the environment says; loads its model once, serves any number of threads.

    `threads` images are worked on at a time, each on one thread from the first byte to the score:
    reading, decoding and inference of different images overlap, and the processor is never asked
    for more threads than it was given. On two cores this scored 1.1 to 1.8 times as many files a
    second as decoding and running one after the other with all cores inside the run.

    Args:
        mode: ``baseline`` or ``onnx``.
        model_path: The ONNX file, for mode ``onnx``; relative paths start at the working directory.
        model_version: The version that the file must have; None takes what its verified metadata
            says.
        threads: How many images are worked on at a time; None is one for each processor core.
        max_pixels: Images with more pixels are refused.

    Raises:
        WebcamMLError: The mode is unknown. A model that cannot be used is no error: the scorer
            falls back to the baseline, logs why, and says so in `fallback_reason`.
    """

    def __init__(
        self,
        mode: str = "baseline",
        *,
        model_path: str | os.PathLike[str] | None = None,
        model_version: str | None = None,
        threads: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if mode not in ("baseline", "onnx"):
            raise WebcamMLError(
                f"AI_SCORING_MODE is {mode!r}; it can be baseline or onnx, and is baseline if unset"
            )
        if threads is not None and threads < 1:
            raise ValueError(f"threads is {threads}; at least one is needed")
        self._threads = threads or available_cores()
        self._max_pixels = max_pixels
        self._lock = threading.Lock()
        self._logged: set[str] = set()
        self._fallback_reason: str | None = None
        self._mode = mode
        self._model: OnnxModel | None = None
        if mode == "onnx":
            try:
                self._model = _load(model_path, model_version)
            except ModelError as error:
                self._fall_back(str(error), cause="load")

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, threads: int | None = None
    ) -> Self:
        """Make the scorer that AI_SCORING_MODE, AI_ONNX_MODEL_PATH and AI_MODEL_VERSION describe.

        A variable that is set to nothing counts as unset.

        Args:
            environ: Where the variables are; None reads the process's environment.
            threads: As for `Scorer`.

        Raises:
            WebcamMLError: AI_SCORING_MODE is neither ``baseline`` nor ``onnx``.
        """
        environ = os.environ if environ is None else environ
        return cls(
            environ.get("AI_SCORING_MODE") or "baseline",
            model_path=environ.get("AI_ONNX_MODEL_PATH") or None,
            model_version=environ.get("AI_MODEL_VERSION") or None,
            threads=threads,
        )

    @classmethod
    def of_model(cls, model_path: str | os.PathLike[str], *, threads: int | None = None) -> Self:
        """Make a scorer of this model file; raise if it cannot be loaded, instead of falling back.

        Raises:
            ModelError: The model cannot be loaded.
        """
        model = _load(model_path, None)
        scorer = cls(threads=threads)
        scorer._mode, scorer._model = "onnx", model
        return scorer

    @property
    def path(self) -> ScoringPath:
        """Which path is running: ``onnx`` only while the model gives the scores."""
        return "onnx" if self._mode == "onnx" and self._fallback_reason is None else "baseline"

    @property
    def fallback_reason(self) -> str | None:
        """Why the baseline is used although a model was asked for; None in all other cases.

        A model that could not be loaded is not tried again. One that failed on an image is tried
        again for the next, and this is None again once it has given a score.
        """
        return self._fallback_reason

    @property
    def model(self) -> OnnxModel | None:
        """The model that was loaded; None in mode baseline and after a failure to load."""
        return self._model

    def score(self, image: ImageSource, *, webcam: WebcamMetadata | None = None) -> Score:
        """Score one image.

        Args:
            image: Content, path, pixels or a function that fetches the content.
            webcam: What the baseline knows of it; the model does not look at this.

        Raises:
            ImageError: The image cannot be used.
        """
        return self._score(image, webcam).score

    def score_many(
        self,
        images: Iterable[ImageSource],
        *,
        webcams: Iterable[WebcamMetadata | None] | None = None,
    ) -> Iterator[ScoredImage | ImageError]:
        """Score many images at once; a bad one yields its error and the others go on.

        Images are taken from the iterable only as the work proceeds, so a lazy one never has more
        than a few in memory. They are scored one by one, not in batches: on a processor a batch
        gains nothing, and pictures of different sizes would not fit into one.

        Args:
            images: As for `score`.
            webcams: One for each image; None if nothing is known.

        Yields:
            For each image in order its score, or the error that is its own.
        """
        pairs = (
            zip(images, repeat(None), strict=False)
            if webcams is None
            else zip(images, webcams, strict=True)
        )
        waiting: deque[Future[ScoredImage | ImageError]] = deque()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="scoring") as pool:
            try:
                for image, webcam in pairs:
                    waiting.append(pool.submit(self._score_or_error, image, webcam))
                    if len(waiting) == _WAITING_PER_THREAD * self._threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _score_or_error(
        self, image: ImageSource, webcam: WebcamMetadata | None
    ) -> ScoredImage | ImageError:
        try:
            return self._score(image, webcam)
        except ImageError as error:
            return error

    def _score(self, image: ImageSource, webcam: WebcamMetadata | None) -> ScoredImage:
        pixels, info = self._pixels(image)
        reason = self._fallback_reason
        if self._model is not None:
            try:
                raw_score = float(self._model.score_array(pixels[np.newaxis])[0])
            except ModelError as error:
                reason = str(error)
                self._fall_back(reason, cause=type(error.__cause__ or error).__name__)
            else:
                self._fallback_reason = None
                version = self._model.model_version
                return ScoredImage(Score.of(raw_score, model_version=version), "onnx", None, info)
        known = webcam or WebcamMetadata()
        score = baseline_score(known.view_count, known.rating, known.phase)
        return ScoredImage(score, "baseline", reason, info)

    def _fall_back(self, reason: str, *, cause: str) -> None:
        """Keep the reason, and log it the first time that this cause occurs.

        The text cannot tell causes apart: onnxruntime's messages hold sizes that differ by image.
        """
        with self._lock:
            self._fallback_reason = reason
            known = cause in self._logged
            self._logged.add(cause)
        if not known:
            logger.warning("scoring falls back to %s: %s", BASELINE_VERSION, reason)

    def _pixels(self, image: ImageSource) -> tuple[NDArray[np.uint8], ImageInfo | None]:
        if isinstance(image, np.ndarray):
            return _checked_array(image, self._max_pixels), None
        if isinstance(image, bytes):
            data = image
        elif isinstance(image, str | os.PathLike):
            data = _read_file(image)
        else:
            data = _fetched(image)
        return decode_image_with_info(data, max_pixels=self._max_pixels)


def _load(model_path: str | os.PathLike[str] | None, model_version: str | None) -> OnnxModel:
    if model_path is None:
        raise ModelError("AI_SCORING_MODE is onnx, but AI_ONNX_MODEL_PATH names no model")
    model = OnnxModel.load(model_path, threads=1)
    if model_version is not None and model_version != model.model_version:
        raise ModelError(
            f"AI_MODEL_VERSION asks for {model_version}, but the model at {model_path} is "
            f"{model.model_version}; set both to the same model, or leave AI_MODEL_VERSION unset"
        )
    return model


def _checked_array(pixels: NDArray[np.uint8], max_pixels: int) -> NDArray[np.uint8]:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ImageError(
            "unsupported",
            f"an array of {pixels.dtype} {list(pixels.shape)} is no picture; pixels are uint8 "
            "[height, width, 3], RGB, neither resized nor normalised",
        )
    check_pixels(pixels.shape[1], pixels.shape[0], max_pixels)
    return pixels


def _read_file(path: str | os.PathLike[str]) -> bytes:
    try:
        file, status = open_regular_file(Path(path))
        with file:
            if status.st_size > MAX_BYTES:
                raise ImageError(
                    "too_many_bytes",
                    f"{status.st_size:,} bytes; pictures of at most {MAX_BYTES:,} are read",
                )
            return file.read(status.st_size)
    except FileNotFoundError as fault:
        raise ImageError("unreadable", "there is no such file") from fault
    except NotARegularFileError as fault:
        raise ImageError("unreadable", str(fault)) from fault
    except OSError as fault:
        raise ImageError("unreadable", f"the file cannot be read: {fault.strerror}") from fault
    except ValueError as fault:
        raise ImageError("unreadable", f"this is not a path ({fault})") from fault


def _fetched(fetch: Callable[[], bytes]) -> bytes:
    try:
        return fetch()
    except ImageError:
        raise
    except WebcamMLError as fault:
        raise ImageError("unreadable", str(fault)) from fault


def scoring_environment(model: Path, model_version: str) -> dict[str, str]:
    """Give the three variables that make the application's scorer use a model."""
    return {
        "AI_SCORING_MODE": "onnx",
        "AI_MODEL_VERSION": model_version,
        "AI_ONNX_MODEL_PATH": str(model),
    }
