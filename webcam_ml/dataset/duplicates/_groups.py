"""Which webcams are one camera: connected by pictures that both show."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import polars as pl

Group = tuple[int, ...]


@dataclass(frozen=True)
class DuplicateWebcams:
    """Groups of webcams that are one camera, and which pictures say so.

    Attributes:
        groups: Ids of two webcams or more each, ascending; no webcam is in two groups.
        pictures_sha256: Digest over the snapshots that were compared and their pictures.
        compared: How many snapshots were compared.
        left_out: How many have no readable picture.
    """

    groups: tuple[Group, ...]
    pictures_sha256: str
    compared: int
    left_out: int

    @cached_property
    def camera_of(self) -> Mapping[int, int]:
        """The smallest id in the group of each webcam that is in one."""
        return {webcam: group[0] for group in self.groups for webcam in group}

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON."""
        return {
            "groups": [list(group) for group in self.groups],
            "pictures_sha256": self.pictures_sha256,
            "compared": self.compared,
            "left_out": self.left_out,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        groups = tuple(tuple(group) for group in values["groups"])
        return cls(**{**values, "groups": groups})


def connected_webcams(pairs: pl.DataFrame) -> tuple[Group, ...]:
    """Join webcams that share a picture, directly or through others.

    Args:
        pairs: webcam_a and webcam_b of each pair.

    Returns:
        Groups in the order of their smallest id.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = pairs.select("webcam_a", "webcam_b").to_numpy()
    webcams, places = np.unique(ends, return_inverse=True)
    if not len(webcams):
        return ()
    one, other = places.reshape(ends.shape).T
    links = coo_array((np.ones(len(ends)), (one, other)), shape=(len(webcams), len(webcams)))
    _, component = connected_components(links, directed=False)
    groups = [tuple(webcams[component == c].tolist()) for c in np.unique(component)]
    return tuple(sorted(groups))
