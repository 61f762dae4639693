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
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from webcam_ml.contracts import TargetType
from webcam_ml.errors import WebcamMLError
from webcam_ml.limits import MAX_PIXELS, available_cores
from webcam_ml.scoring._decode import ImageInfo, decode_image_with_info
from webcam_ml.scoring._files import NotARegularFileError, open_regular_file
from webcam_ml.scoring._image_error import ImageError, check_bytes, check_pixels
from webcam_ml.scoring._model import OnnxModel, model_files
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
        model: The model that gave the score; None on the path ``baseline``.
        heads: Of each head of the model its score, `score` among them; empty on the path
            ``baseline``.
    """

    score: Score
    path: ScoringPath
    fallback_reason: str | None
    info: ImageInfo | None
    model: OnnxModel | None
    heads: Mapping[TargetType, Score]


@dataclass(frozen=True)
class _Live:
    """What scores at a time; replaced as a whole, so that no call sees half of two.

    Attributes:
        model: None in mode baseline, and while none could be loaded.
        reason: Why there is no model although one is asked for.
        files: Which files the path led to, as `model_files` says it; None before the first look.
    """

    model: OnnxModel | None = None
    reason: str | None = None
    files: str | None = None


class Scorer:
    """Scores images as the environment says, with what its path leads to; serves any threads.

    Before each call the scorer looks whether the path leads to other files than before: a promotion
    swings the link to the live model. If so, that call loads them, the others go on with what there
    is, and the new model takes over once it has given a number. One that cannot be used does not:
    the old one goes on under its own name. A call uses one model from its first image to its last.

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
        self._loading = threading.Lock()
        self._logged: set[str] = set()
        self._fallback_reason: str | None = None
        self._mode = mode
        self._asked: _Asked | None = None
        self._live = _Live()
        if mode == "onnx":
            self._asked = _Asked(model_path, model_version)
            self._follow(self._asked)

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
        """Make a scorer of the model that is there now; raise if it cannot be used.

        Raises:
            ModelError: The model cannot be loaded.
        """
        model = _Asked(model_path, None).load()
        scorer = cls(threads=threads)
        scorer._mode, scorer._live = "onnx", _Live(model)
        return scorer

    @property
    def path(self) -> ScoringPath:
        """Which path is running: ``onnx`` only while the model gives the scores."""
        return "onnx" if self._mode == "onnx" and self._fallback_reason is None else "baseline"

    @property
    def fallback_reason(self) -> str | None:
        """Why the baseline is used although a model was asked for; None in all other cases.

        A model that could not be loaded is tried again when its files are others. One that failed on
        an image is tried again for the next, and this is None again once it has given a score.
        """
        return self._fallback_reason

    @property
    def model(self) -> OnnxModel | None:
        """The model that is loaded; None in mode baseline and while none could be loaded."""
        return self._live.model

    def score(self, image: ImageSource, *, webcam: WebcamMetadata | None = None) -> Score:
        """Score one image.

        Args:
            image: Content, path, pixels or a function that fetches the content.
            webcam: What the baseline knows of it; the model does not look at this.

        Raises:
            ImageError: The image cannot be used.
        """
        return self._score(self._current(), image, webcam).score

    def score_many(
        self,
        images: Iterable[ImageSource],
        *,
        webcams: Iterable[WebcamMetadata | None] | None = None,
    ) -> Generator[ScoredImage | ImageError, None, None]:
        """Score many images at once; a bad one yields its error and the others go on.

        One model scores all of them, also if another goes live meanwhile. Images are taken from the
        iterable only as the work proceeds, so a lazy one never has more than a few in memory. They
        are scored one by one, not in batches: on a processor a batch gains nothing, and pictures of
        different sizes would not fit into one. Who does not read it to the end closes it
        (`contextlib.closing`), and its threads end.

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
        live = self._current()
        waiting: deque[Future[ScoredImage | ImageError]] = deque()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="scoring") as pool:
            try:
                for image, webcam in pairs:
                    waiting.append(pool.submit(self._score_or_error, live, image, webcam))
                    if len(waiting) == _WAITING_PER_THREAD * self._threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _current(self) -> _Live:
        """Give what is live; load it first if the path leads to other files than before."""
        asked = self._asked
        # Whoever notices loads, and everybody else goes on with what there is.
        if (
            asked is not None
            and asked.files() != self._live.files
            and self._loading.acquire(blocking=False)
        ):
            try:
                self._follow(asked)
            finally:
                self._loading.release()
        return self._live

    def _follow(self, asked: "_Asked") -> None:
        # Before they are read: if they are exchanged meanwhile, the next call sees it.
        files = asked.files()
        before = self._live
        if files == before.files:
            return
        try:
            self._live = _Live(asked.load(), files=files)
        except ModelError as error:
            reason = str(error)
            if before.model is None:
                self._live = _Live(reason=reason, files=files)
                self._fall_back(reason, cause=f"load: {reason}")
            else:
                self._live = replace(before, files=files)
                logger.warning(
                    "%s goes on, although %s leads to other files: %s",
                    before.model.model_version,
                    asked.model_path,
                    reason,
                )
        else:
            with self._lock:
                self._fallback_reason = None
                self._logged.clear()

    def _score_or_error(
        self, live: _Live, image: ImageSource, webcam: WebcamMetadata | None
    ) -> ScoredImage | ImageError:
        try:
            return self._score(live, image, webcam)
        except ImageError as error:
            return error

    def _score(self, live: _Live, image: ImageSource, webcam: WebcamMetadata | None) -> ScoredImage:
        pixels, info = self._pixels(image)
        model, reason = live.model, live.reason
        if model is not None:
            try:
                raw = model.score_heads(pixels[np.newaxis])
            except ModelError as error:
                reason = str(error)
                self._fall_back(reason, cause=type(error.__cause__ or error).__name__)
            else:
                self._fallback_reason = None
                heads = {
                    head.target_type: Score.of(
                        float(raw[head.target_type][0]), model_version=head.model_version
                    )
                    for head in model.heads
                }
                return ScoredImage(heads[model.target_type], "onnx", None, info, model, heads)
        known = webcam or WebcamMetadata()
        score = baseline_score(known.view_count, known.rating, known.phase)
        return ScoredImage(score, "baseline", reason, info, None, {})

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
        check_bytes(len(data))
        return decode_image_with_info(data, max_pixels=self._max_pixels)


@dataclass(frozen=True)
class _Asked:
    """The model that is asked for: where, and which version it must have."""

    model_path: str | os.PathLike[str] | None
    model_version: str | None

    def files(self) -> str:
        """Say which files the path leads to; another text means that they were exchanged."""
        return "" if self.model_path is None else model_files(self.model_path)

    def load(self) -> OnnxModel:
        """Load it, and let it score a black picture, so that no model speaks that cannot.

        Raises:
            ModelError: It cannot be used.
        """
        path, version = self.model_path, self.model_version
        if path is None:
            raise ModelError("AI_SCORING_MODE is onnx, but AI_ONNX_MODEL_PATH names no model")
        model = OnnxModel.load(path, threads=1)
        if version is not None and version != model.model_version:
            raise ModelError(
                f"AI_MODEL_VERSION asks for {version}, but the model at {path} is "
                f"{model.model_version}; set both to the same model, or leave AI_MODEL_VERSION unset"
            )
        model.score_array(np.zeros((1, 360, 640, 3), np.uint8))
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
            check_bytes(status.st_size)
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
