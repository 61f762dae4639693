"""Which webcams are one camera: connected by pictures that both show."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import polars as pl

Group = tuple[int, ...]
NO_PAIRS = pl.DataFrame(schema={"webcam_a": pl.Int64, "webcam_b": pl.Int64})


@dataclass(frozen=True)
class DuplicateWebcams:
    """Groups of webcams that are one camera, and which pictures or devices say so.

    Attributes:
        groups: Ids of two webcams or more each, ascending; no webcam is in two groups.
        pictures_sha256: Digest over the snapshots that were compared and their pictures.
        compared: How many snapshots were compared.
        left_out: How many have no readable picture.
        devices: What the database says of it: webcams that belong to one device of the operator. Each
            is part of a group.
    """

    groups: tuple[Group, ...]
    pictures_sha256: str
    compared: int
    left_out: int
    devices: tuple[Group, ...] = ()

    @cached_property
    def camera_of(self) -> Mapping[int, int]:
        """The smallest id in the group of each webcam that is in one."""
        return {webcam: group[0] for group in self.groups for webcam in group}

    def joined_by(self, devices: Iterable[Group]) -> Self:
        """Join webcams of further devices, also to groups that there are.

        Args:
            devices: Webcams that share a device, each in one at most.
        """
        further = tuple(device for device in devices if device not in self.devices)
        return replace(
            self,
            groups=connected_webcams(NO_PAIRS, (*self.groups, *further)),
            devices=self.devices + further,
        )

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON; `devices` only where there are some."""
        return {
            "groups": [list(group) for group in self.groups],
            "pictures_sha256": self.pictures_sha256,
            "compared": self.compared,
            "left_out": self.left_out,
            **({"devices": [list(group) for group in self.devices]} if self.devices else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        lists = {name: values.get(name, []) for name in ("groups", "devices")}
        return cls(
            **{**values, **{name: tuple(map(tuple, groups)) for name, groups in lists.items()}}
        )


def connected_webcams(pairs: pl.DataFrame, devices: Sequence[Group] = ()) -> tuple[Group, ...]:
    """Join webcams that share a picture or a device, directly or through others.

    Args:
        pairs: webcam_a and webcam_b of each pair that shares a picture.
        devices: Webcams that share a device.

    Returns:
        Groups in the order of their smallest id.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    of_devices = [(group[0], other) for group in devices for other in group[1:]]
    shared = pairs.select("webcam_a", "webcam_b").rows()
    ends = np.array(shared + of_devices, dtype=np.int64).reshape(-1, 2)
    webcams, places = np.unique(ends, return_inverse=True)
    if not len(webcams):
        return ()
    one, other = places.reshape(ends.shape).T
    links = coo_array((np.ones(len(ends)), (one, other)), shape=(len(webcams), len(webcams)))
    _, component = connected_components(links, directed=False)
    groups = [tuple(webcams[component == c].tolist()) for c in np.unique(component)]
    return tuple(sorted(groups))
