"""Lists that can be extended, by the names of their entries."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

from webcam_ml.errors import WebcamMLError


class Named(Protocol):
    """An entry of such a list."""

    @property
    def name(self) -> str:
        """What users write."""


NamedT = TypeVar("NamedT", bound=Named)


def by_name(what: str, entries: Iterable[NamedT]) -> dict[str, NamedT]:
    """Give entries by their names, in their order.

    Args:
        what: What they are, in the plural.
        entries: All of them.

    Raises:
        WebcamMLError: Two have the same name; the later one would replace the other without notice.
    """
    found: dict[str, NamedT] = {}
    for entry in entries:
        if entry.name in found:
            raise WebcamMLError(
                f"two {what} are named {entry.name!r}: what is stored under that name would mean "
                "something else from now on. Give the new one another name"
            )
        found[entry.name] = entry
    return found
