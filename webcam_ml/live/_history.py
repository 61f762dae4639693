"""The history in a folder or bucket, read as one although it lies in several keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from webcam_ml.errors import WebcamMLError
from webcam_ml.live._chain import LedgerDamagedError
from webcam_ml.live._layout import HEAD_FILE, JUDGED_FILE, LEDGER_FILE, PRODUCTION, REFUSALS_FILE
from webcam_ml.live._ledger import Ledger
from webcam_ml.store import Bucket, Found

NEW_LINE = b"\n"
# The head first, as in `Ledger.read`; the ledger last, so that what is beside it is no newer.
ORDER = (HEAD_FILE, JUDGED_FILE, REFUSALS_FILE, LEDGER_FILE)


@dataclass(frozen=True)
class History:
    """What a store says was live.

    Attributes:
        ledger: The ledger.
        found: What each file of the history has, and its tag; without those that are not there.
    """

    ledger: Ledger
    found: Mapping[str, Found]

    @property
    def files(self) -> dict[str, bytes]:
        """The bytes of the files that only grow: all but the head."""
        return {name: one.data for name, one in self.found.items() if name != HEAD_FILE}

    @classmethod
    def of(cls, bucket: Bucket) -> Self:
        """Read it; again, where a promotion came between.

        Raises:
            LedgerDamagedError: The history is not what was written.
            WebcamMLError: The bucket cannot be read.
        """
        while True:
            read = {name: bucket.get(key_of(name)) for name in ORDER}
            found = {name: one for name, one in read.items() if one is not None}
            try:
                head, lines = (
                    found[name].data if name in found else None for name in (HEAD_FILE, LEDGER_FILE)
                )
                return cls(Ledger.of(head, lines, Path(PRODUCTION)), found)
            except LedgerDamagedError as error:
                if bucket.get(key_of(HEAD_FILE)) == read[HEAD_FILE]:
                    raise error.in_(bucket.address) from error


def key_of(name: str) -> str:
    """Give the key of a file of the production folder."""
    return f"{PRODUCTION}/{name}"


def follows(address: str, key: str, data: bytes, there: bytes) -> bool:
    """Whether lines go on from those that are there; refused if they do not.

    Args:
        address: Where the lines are that may grow.
        key: Of what, for the message.
        data: The lines to be copied.
        there: The lines that are there.

    Raises:
        WebcamMLError: They are other lines.
    """
    if not data.startswith(there):
        raise WebcamMLError(
            f"{key} in {address} has {there.count(NEW_LINE)} lines, and they are not the "
            f"first of the {data.count(NEW_LINE)} that were to be copied. What is live only moves "
            "forward: either the source was put back to an earlier state (bring its backup up to "
            "date), or the destination has a history of its own (name an empty one)"
        )
    return True
