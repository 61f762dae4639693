"""Pictures that are known to be the same, planted among pictures that are known not to be.

Half of the clean pictures have a foreground, half show nothing but sky: the hard case, because skies
differ by their clouds alone and some have none.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from webcam_ml.dataset.duplicates import Matches, fingerprint, match_pictures
from webcam_ml.demo import DemoOptions
from webcam_ml.demo._options import Stream, random_stream
from webcam_ml.demo._picture import Stage, _expose, draw_view
from webcam_ml.demo._plan import Shows, Snapshot, plan_snapshots
from webcam_ml.demo._scenery import draw_scenery
from webcam_ml.demo._sky import draw_cloud_maps, draw_sky, view_of

SAME_MOMENT = "2026-02-12T17:45:00Z"
USUAL_QUALITY = 85
COPIES_FROM = 1_000_000


def draw_clean(cameras: int, *, seed: int, width: int) -> list[Image.Image]:
    """Draw two pictures for each of so many cameras, no two of which show the same.

    Returns:
        First those with a foreground, then, of other evenings, those of sky alone.
    """
    options = DemoOptions(seed=seed, webcams=3 * cameras, snapshots=8 * cameras, image_width=width)
    first: dict[int, Snapshot] = {}
    for snapshot in plan_snapshots(options):
        if snapshot.shows is Shows.VIEW and not snapshot.dead:
            first.setdefault(snapshot.scene.index, snapshot)
    frames = list(first.values())
    scenes, skies = frames[:cameras], frames[cameras : 2 * cameras]
    assert len(skies) == cameras
    return [
        *(_encoded(_scene(seed, frame), frame.scene.jpeg_quality) for frame in scenes),
        *(_encoded(_sky_alone(seed, frame), frame.scene.jpeg_quality) for frame in skies),
    ]


def _scene(seed: int, frame: Snapshot) -> Image.Image:
    camera = frame.scene
    sun = frame.crossing_azimuth - camera.view_azimuth
    clouds = draw_cloud_maps(seed, camera, frame.scene_visit, frame.weather, sun)
    return draw_view(seed, Stage(view_of(camera), draw_scenery(seed, camera), clouds), frame)


def _sky_alone(seed: int, frame: Snapshot) -> Image.Image:
    camera = replace(frame.scene, horizon=1.0)
    sun = frame.crossing_azimuth - camera.view_azimuth
    light = draw_sky(
        camera,
        view_of(camera),
        frame.weather,
        draw_cloud_maps(seed, camera, frame.scene_visit, frame.weather, sun),
        sun_elevation=frame.sun_elevation,
        sun_azimuth=frame.sun_azimuth,
        minutes=frame.minutes,
    )
    grain = random_stream(seed, Stream.SENSOR, camera.index, frame.scene_visit, frame.moment)
    return _expose(grain, camera, light, frame.sun_elevation)


def _encoded(picture: Image.Image, quality: int = USUAL_QUALITY) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def crop(picture: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Cut shares of width and height off the edges."""
    width, height = picture.size
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return picture.crop(tuple(round(edge) for edge in box))


def with_text(picture: Image.Image) -> Image.Image:
    """Write a line over the picture, as providers do."""
    copy = picture.copy()
    size = max(8, round(copy.height * 0.045))
    draw = ImageDraw.Draw(copy)
    draw.rectangle((0, copy.height - 1.5 * size, copy.width, copy.height), fill=(20, 20, 20))
    draw.text(
        (0.5 * size, copy.height - 1.35 * size),
        "webcams.example   Station 17   2026-02-12 17:45",
        fill=(240, 240, 240),
        font=ImageFont.load_default(size),
    )
    return copy


def brighter(picture: Image.Image, factor: float) -> Image.Image:
    """Multiply all pixels."""
    return ImageEnhance.Brightness(picture).enhance(factor)


# Each is saved again as a JPEG file, as another provider would.
ALTERATIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "crop 5 % off every edge": lambda p: _encoded(crop(p, 0.05, 0.05, 0.05, 0.05)),
    "crop to 95 % of each side": lambda p: _encoded(crop(p, 0.025, 0.025, 0.025, 0.025)),
    "crop 5 % off the left": lambda p: _encoded(crop(p, 0.05, 0, 0, 0)),
    "recompress at quality 30": lambda p: _encoded(p, 30),
    "brightness +10 %": lambda p: _encoded(brighter(p, 1.1)),
    "brightness −10 %": lambda p: _encoded(brighter(p, 0.9)),
    "overlaid text": lambda p: _encoded(with_text(p)),
}
# Several at once: not promised, but what a mirror does.
COMBINATIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half size, quality 50": lambda p: _encoded(p.resize((p.width // 2, p.height // 2)), 50),
    "crop, text, quality 60": lambda p: _encoded(with_text(crop(p, 0.02, 0.02, 0.02, 0.02)), 60),
}


@dataclass(frozen=True)
class Pictures:
    """Fingerprints of pictures with the webcams that show them."""

    webcams: Sequence[int]
    rows: np.ndarray

    @classmethod
    def of(cls, pictures: Sequence[Image.Image], *, first_webcam: int) -> "Pictures":
        rows = np.stack([fingerprint(np.asarray(picture)) for picture in pictures])
        return cls(range(first_webcam, first_webcam + len(pictures)), rows)

    def __add__(self, other: "Pictures") -> "Pictures":
        return Pictures([*self.webcams, *other.webcams], np.concatenate([self.rows, other.rows]))

    def match(self) -> Matches:
        """Compare all, as if captured at one moment: harder than any real hour."""
        names = [f"{webcam:064d}" for webcam in self.webcams]
        frame = pl.DataFrame(
            {
                "snapshot_id": list(self.webcams),
                "webcam_id": list(self.webcams),
                "captured_at": [SAME_MOMENT] * len(names),
                "sha256": names,
            }
        )
        hashes = np.ascontiguousarray(self.rows[:, -8:]).view(np.uint64).ravel()
        return match_pictures(frame, hashes, self.rows[:, :-8])


@dataclass(frozen=True)
class Recall:
    """How many planted copies were found, of pictures with a foreground and of skies."""

    alteration: str
    scenes: float
    skies: float


def flagged(clean: Pictures) -> np.ndarray:
    """Say of each clean picture whether it is taken for another one."""
    found = clean.match().pairs
    return np.isin(clean.webcams, np.concatenate([found["webcam_a"], found["webcam_b"]]))


def recalls(
    originals: Sequence[Image.Image],
    clean: Pictures,
    alterations: dict[str, Callable[[Image.Image], Image.Image]],
) -> Iterator[Recall]:
    """Plant an altered copy of every picture under another webcam, and count those that are found."""
    half = len(originals) // 2
    for name, alter in alterations.items():
        copies = Pictures.of([alter(one) for one in originals], first_webcam=COPIES_FROM)
        pairs = (clean + copies).match().pairs.select("webcam_a", "webcam_b").rows()
        found = np.array([(i, COPIES_FROM + i) in set(pairs) for i in range(len(originals))])
        yield Recall(name, float(found[:half].mean()), float(found[half:].mean()))
