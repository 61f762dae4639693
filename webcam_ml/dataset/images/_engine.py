"""Who computes what is made of pictures: what an engine is asked, and the engine of one machine.

A `PictureWork` describes what is made of one picture, an `Engine` does it for many, an `ArrayCache` keeps
what comes out. What a work computes belongs in the package that needs it.
"""

import hashlib
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from webcam_ml.dataset.images._machine import Provider, machine_kind
from webcam_ml.limits import available_cores
from webcam_ml.scoring import ImageError, decode_image

ImageArray = npt.NDArray[np.uint8]
Result = TypeVar("Result")

AHEAD_PER_CORE = 4


class PictureWork(ABC, Generic[Result]):
    """What is made of one picture, told so that any process of any machine can do it.

    A frozen dataclass of plain values, defined at the top of a module, so that it can be pickled.
    """

    @abstractmethod
    def start(self) -> Callable[[ImageArray], Result]:
        """Prepare what all pictures share, such as a session; called once in each process.

        Returns:
            From uint8 RGB [height, width, 3] to the result; called in several threads at once, so it
            should itself keep to one core.
        """


class Engine(ABC):
    """Does a work on many pictures.

    Attributes:
        provider: What onnxruntime computes networks on.
    """

    provider: Provider = "CPUExecutionProvider"

    @abstractmethod
    def kind(self, provider: Provider) -> str:
        """Name the kind of machine that it works on, see `machine_kind`."""

    @abstractmethod
    def each(
        self, work: PictureWork[Result], digests: Sequence[str], *, read: Callable[[str], bytes]
    ) -> Generator[tuple[str, Result], None, None]:
        """Do the work on each picture, a bounded number ahead of the caller, who closes it.

        Args:
            work: What is made of a picture.
            digests: SHA-256 of each picture, none of them twice.
            read: Gives the file of a picture; called in this process, maybe in threads.

        Yields:
            Digest and result, in any order.
        """


def decode_any_size(content: bytes) -> ImageArray:
    """Decode a picture that came in already: the limit on pixels was applied then.

    Raises:
        ImageError: The file is no usable image; the message says which one, and what to do.
    """
    try:
        # It may have been a larger limit than the default.
        return decode_image(content, max_pixels=sys.maxsize)
    except ImageError as fault:
        raise ImageError(
            fault.reason,
            f"the picture {hashlib.sha256(content).hexdigest()} was read when it came in, by an earlier "
            f"version, and is refused now: {fault.detail}. Materialize image_index again: it leaves "
            "the picture out",
        ) from fault


class LocalEngine(Engine):
    """Works on as many pictures at once as there are cores, each on one thread, in their order."""

    def kind(self, provider: Provider) -> str:
        """Name the kind of this machine; see `Engine`."""
        return machine_kind(provider)

    def each(
        self, work: PictureWork[Result], digests: Sequence[str], *, read: Callable[[str], bytes]
    ) -> Generator[tuple[str, Result], None, None]:
        """Do the work on each picture; see `Engine`."""
        compute = work.start()
        return work_ahead(digests, lambda digest: compute(decode_any_size(read(digest))))

    def __str__(self) -> str:
        """Name it in a log."""
        return "threads of this process"


def work_ahead(
    digests: Sequence[str], work: Callable[[str], Result]
) -> Generator[tuple[str, Result], None, None]:
    """Work on as many pictures at once as there are cores, each on one thread, in their order.

    No core waits for another, as it does where all of them share one picture's layers, and the
    caller does not wait for a picture to be decoded. Only a few results are computed ahead.

    The caller closes it, also after an error: left to the garbage collector, it would wait for its threads
    wherever that runs, which may be where no thread can end.

    Args:
        digests: SHA-256 of each picture.
        work: What is made of one, called in threads.
    """
    cores = available_cores()
    with ThreadPoolExecutor(cores) as pool:
        ahead: deque[tuple[str, Future[Result]]] = deque()
        try:
            for digest in digests:
                ahead.append((digest, pool.submit(work, digest)))
                if len(ahead) > AHEAD_PER_CORE * cores:
                    first, future = ahead.popleft()
                    yield first, future.result()
            while ahead:
                first, future = ahead.popleft()
                yield first, future.result()
        finally:
            for _, future in ahead:
                future.cancel()
