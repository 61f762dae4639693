"""The thread that carries votes from the journal to where they belong, one after the other."""

import logging
import threading

from webcam_ml.errors import WebcamMLError
from webcam_ml.review._destinations import Destination
from webcam_ml.review._journal import Cast, Journal

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
SECONDS_BETWEEN_LOOKS = 0.5


class VoteWriter(threading.Thread):
    """Settles the entries of a journal in their order, and tries again as long as it takes.

    Args:
        journal: Where they wait.
        destination: Where they go.
    """

    def __init__(self, journal: Journal, destination: Destination) -> None:
        super().__init__(name="votes", daemon=True)
        self.trouble: str | None = None
        """Why nothing can be written at the moment."""
        self._journal = journal
        self._destination = destination
        self._stopping = threading.Event()

    def run(self) -> None:
        """Write what waits until `stop` is called and nothing waits, or what waits cannot be written."""
        pause = FIRST_PAUSE
        while True:
            entry = self._journal.wait_for_work(SECONDS_BETWEEN_LOOKS)
            if entry is None:
                if self._stopping.is_set():
                    return
                continue
            try:
                put = self._destination
                outcome = (
                    put.put(entry, self._journal)
                    if isinstance(entry, Cast)
                    else put.take_back(entry, self._journal)
                )
                self._journal.settle(entry.id, outcome)
            except WebcamMLError as error:
                if self.trouble is None:
                    logger.warning("votes wait in the journal: %s", error)
                self.trouble = str(error)
                if self._stopping.is_set():
                    return
                self._stopping.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self.trouble, pause = None, FIRST_PAUSE

    def stop(self) -> None:
        """Let the thread write what waits, if it can be written, and wait until it ends."""
        self._stopping.set()
        self.join()
