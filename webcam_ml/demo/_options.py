"""What a demo is made from: its options, and the random streams that depend on its seed."""

from dataclasses import asdict, dataclass
from enum import IntEnum

import numpy as np

from webcam_ml.errors import WebcamMLError

FEWEST_WEBCAMS = 8
SMALLEST_PICTURE = 64
LARGEST_PICTURE = 4096

# A language model judged 29,600 snapshots where people rated 4,700.
UNRATED_WITH_JUDGES = 5.3


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Everything that the rows and pictures of a demo depend on, beside its folder.

    Attributes:
        seed: Of every random draw; equal options give equal rows and pictures.
        webcams: Cameras in the database. The few that own most snapshots come first in the draw,
            so with few snapshots the last cameras own none.
        snapshots: Rated snapshots. Asking for more later adds to the ones that are there.
        raters_per_snapshot: Mean number of star ratings of a rated snapshot, at least 1.
        unrated_fraction: Unrated snapshots per rated one, on top of `snapshots`.
        image_width: Width in pixels of a typical picture; cameras differ around it.
        judges: Whether language models judge the snapshots too, people say N, a curator gives gold
            labels, and there are pictures from elsewhere.

    Raises:
        WebcamMLError: If a value makes no demo.
    """

    seed: int = 16
    webcams: int = 240
    snapshots: int = 900
    raters_per_snapshot: float = 1.5
    unrated_fraction: float = 0.15
    image_width: int = 640
    judges: bool = False

    def __post_init__(self) -> None:
        """Refuse what makes no demo, naming the option."""
        for found, possible, name, limits in (
            (self.seed, self.seed >= 0, "seed", "0 or more"),
            (self.webcams, self.webcams >= FEWEST_WEBCAMS, "webcams", f"{FEWEST_WEBCAMS} or more"),
            (self.snapshots, self.snapshots >= 1, "snapshots", "1 or more"),
            (
                self.raters_per_snapshot,
                1 <= self.raters_per_snapshot <= 10,
                "raters_per_snapshot",
                "from 1 to 10 (a rated snapshot has at least one rater)",
            ),
            (
                self.unrated_fraction,
                0 <= self.unrated_fraction <= 10,
                "unrated_fraction",
                "from 0 to 10",
            ),
            (
                self.image_width,
                SMALLEST_PICTURE <= self.image_width <= LARGEST_PICTURE,
                "image_width",
                f"from {SMALLEST_PICTURE} to {LARGEST_PICTURE} pixels",
            ),
        ):
            if not possible:
                raise WebcamMLError(f"The demo cannot have {name} {found}: it must be {limits}.")

    def as_record(self) -> dict[str, float]:
        """The options as plain values, in the order in which the database keeps them.

        `judges` is not among them where there are none: such a demo stays as it always was.
        """
        record = asdict(self)
        if not self.judges:
            del record["judges"]
        return record


class Stream(IntEnum):
    """What a random stream is for; the numbers are part of what a seed means."""

    WEBCAM_IDS = 1
    CAMERA = 2
    VISITS = 3
    WEATHER = 4
    CLOUDS = 5
    SCENERY = 6
    SENSOR = 7
    VOTES = 8
    SESSIONS = 9
    CAPTURE = 10
    OLD_MODEL = 11
    JUDGE = 12
    JUDGE_AND_CAMERA = 13
    NO_SUNSET = 14
    GOLD = 15
    EXTERNAL = 16


def random_stream(seed: int, stream: Stream, *key: int) -> np.random.Generator:
    """A generator of its own for one thing, so that no draw depends on how many others there are.

    Args:
        seed: The demo's.
        stream: What is drawn.
        *key: Which one of them, e.g. the camera's index.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, *key)))
