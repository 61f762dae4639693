"""Pictures from elsewhere: photographs that are better composed than any webcam's, and counterexamples.

They are drawn like a webcam's frames, by a camera that is no webcam and looks where the sun is.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from webcam_ml.demo._cameras import draw_camera
from webcam_ml.demo._options import DemoOptions, Stream, random_stream
from webcam_ml.demo._plan import Shows, Snapshot, burst, place_frame

# One for so many snapshots.
SNAPSHOTS_EACH = 40
# Photographers throw most of their pictures away.
EVENINGS = 8
NEGATIVE_SHARE = 0.25
# Beyond the numbers of webcams and snapshots, so that their draws are others.
FIRST_CAMERA = 1_000_000
FIRST_PLACE = 10_000_000

OWNERS = 40
FLICKR_LICENCES = ("CC BY 2.0", "CC BY-SA 2.0", "CC BY-NC 2.0", "CC0 1.0")
UNSPLASH_LICENCE = "Unsplash License"


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """One picture from elsewhere.

    Attributes:
        id: Primary key, from 1.
        source: Where it was found.
        source_id: What it is called there.
        owner: Whose it is.
        licence: Under which it may be used.
        category: What it was collected as.
        view: What it shows, drawn like a webcam's frame; nobody votes on it.
    """

    id: int
    source: Literal["flickr", "unsplash"]
    source_id: str
    owner: str
    licence: str
    category: Literal["sunset", "negative"]
    view: Snapshot

    @property
    def title(self) -> str:
        """What its owner calls it."""
        return self.view.scene.title


def photographs_beside(snapshots: int) -> int:
    """How many pictures from elsewhere a demo has."""
    return snapshots // SNAPSHOTS_EACH


def draw_photographs(options: DemoOptions, snapshots: int) -> tuple[Photograph, ...]:
    """Draw the pictures from elsewhere of a demo with so many snapshots; more have these and more."""
    return tuple(_photograph(options, number) for number in range(photographs_beside(snapshots)))


def _photograph(options: DemoOptions, number: int) -> Photograph:
    rng = random_stream(options.seed, Stream.EXTERNAL, number)
    negative = bool(rng.random() < NEGATIVE_SHARE)
    on_flickr = bool(rng.random() < 0.8)
    rank = int(OWNERS * rng.random() ** 2)
    return Photograph(
        id=number + 1,
        source="flickr" if on_flickr else "unsplash",
        source_id=str(rng.integers(10**9, 10**10)) if on_flickr else rng.bytes(6).hex(),
        owner=f"photographer-{rank + 1}",
        licence=FLICKR_LICENCES[rank % len(FLICKR_LICENCES)] if on_flickr else UNSPLASH_LICENCE,
        category="negative" if negative else "sunset",
        view=_view(options, rng, number, negative=negative),
    )


def _view(
    options: DemoOptions, rng: np.random.Generator, number: int, *, negative: bool
) -> Snapshot:
    camera = draw_camera(options, FIRST_CAMERA + number, webcam_id=0)
    camera = replace(camera, caption="none", scenic=0.9, auto_white_balance=0.0, noise=0.001)
    seen: list[Snapshot] = []
    for evening in range(EVENINGS):
        (first, *_) = burst(options.seed, camera, camera, evening, number=0, shows=Shows.VIEW)
        # Somewhat beside the sun, which nobody puts into the middle.
        aimed = replace(camera, view_azimuth=(first.crossing_azimuth + rng.normal(0, 15)) % 360)
        for frame in burst(options.seed, aimed, aimed, evening, number=0, shows=Shows.VIEW):
            place = FIRST_PLACE + number
            seen.append(place_frame(options, frame, place=place, number=0, unrated=True))
    return (min if negative else max)(seen, key=lambda view: view.beauty)
