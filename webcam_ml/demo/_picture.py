"""From a snapshot to the bytes of its JPEG: sky, foreground, and what the camera makes of them."""

import io
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from webcam_ml.demo._cameras import Camera
from webcam_ml.demo._options import Stream, random_stream
from webcam_ml.demo._plan import Shows, Snapshot
from webcam_ml.demo._scenery import Scenery, draw_scenery
from webcam_ml.demo._sky import (
    CloudMaps,
    Floats,
    View,
    draw_cloud_maps,
    draw_sky,
    haze_colour,
    sunlight,
    view_of,
)

TRUNCATED_TO = 0.55  # of the bytes of a truncated file
MIRROR_CROP = 0.015  # of each side
MIRROR_WIDTH = 0.9
MIRROR_QUALITY = 60
CARD_QUALITY = 80


@dataclass(frozen=True)
class Stage:
    """What the frames of one visit share."""

    view: View
    scenery: Scenery
    clouds: CloudMaps


def draw_pictures(seed: int, frames: Iterable[Snapshot]) -> Iterator[tuple[Snapshot, bytes]]:
    """Draw the JPEGs of snapshots that one and the same camera took.

    Args:
        seed: The demo's.
        frames: Snapshots with the same `scene`, those of a visit one after the other.

    Yields:
        Each snapshot with the bytes of its file; dead images are left out.
    """
    scenery: Scenery | None = None
    for visit, group in itertools.groupby(frames, key=lambda frame: frame.scene_visit):
        clouds: CloudMaps | None = None
        for frame in group:
            if frame.dead:
                continue
            if frame.shows is Shows.OFFLINE_CARD:
                yield frame, _encode(_offline_card(), CARD_QUALITY)
                continue
            camera = frame.scene
            if scenery is None:
                scenery = draw_scenery(seed, camera)
            if clouds is None:
                sun = frame.sun_azimuth - camera.view_azimuth
                clouds = draw_cloud_maps(seed, camera, visit, frame.weather, sun)
            picture = draw_view(seed, Stage(view_of(camera), scenery, clouds), frame)
            quality = camera.jpeg_quality
            if frame.shows is Shows.MIRROR:
                picture, quality = _mirrored(picture), MIRROR_QUALITY
            data = _encode(picture, quality)
            yield frame, data[: int(len(data) * TRUNCATED_TO)] if frame.truncated else data


def draw_view(seed: int, stage: Stage, frame: Snapshot) -> Image.Image:
    """Draw what the camera shows at one moment."""
    camera = frame.scene
    rng = random_stream(seed, Stream.SENSOR, camera.index, int(frame.captured_at.timestamp()))
    sky = draw_sky(
        camera,
        stage.view,
        frame.weather,
        stage.clouds,
        sun_elevation=frame.sun_elevation,
        sun_azimuth=frame.sun_azimuth,
        minutes=frame.minutes,
    )
    scene = _with_foreground(rng, stage, sky, frame)
    picture = Image.fromarray(_expose(rng, camera, scene, frame.sun_elevation))
    if camera.blur > 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(camera.blur * camera.width / 640))
    return _with_caption(picture, frame)


def _with_foreground(
    rng: np.random.Generator, stage: Stage, sky: Floats, frame: Snapshot
) -> Floats:
    """Put the foreground before the sky and light it, linear light, (height, width, 3)."""
    camera, weather, scenery = frame.scene, frame.weather, stage.scenery
    height, horizon = camera.height, stage.view.horizon
    ambient = sky.mean(axis=(0, 1))
    zenith = sky[0].mean(axis=0)
    low_sun = max(0.0, min(1.0, (frame.sun_elevation + 1) / 8)) * (1 - weather.low_cover) ** 0.7
    behind = np.cos(np.radians(frame.sun_azimuth - camera.view_azimuth))
    direct = sunlight(frame.sun_elevation) * np.float32(low_sun * (0.55 - 0.4 * behind))
    scene = np.empty((height, camera.width, 3), np.float32)
    scene[:horizon] = sky
    scene[horizon:] = sky[-1]
    scene *= 1 - scenery.cover[..., None]
    scene += scenery.albedo * (1.1 * ambient + direct)
    if scenery.water.any():
        _reflect(rng, scene, sky, scenery, camera, horizon, ambient)
    thick = 1 - np.exp(-(2.4 * (1 - weather.clarity) + 0.25 + 5 * weather.fog) * scenery.depth)
    thick = np.maximum(thick, 0.9 * weather.fog * scenery.cover * (0.35 + 0.65 * scenery.depth))
    scene += (haze_colour(frame.sun_elevation, zenith) - scene) * (
        thick * (1 - 0.75 * scenery.water * (1 - weather.fog))
    )[..., None]
    dusk = float(np.clip((1.5 - frame.sun_elevation) / 5, 0, 1))
    if dusk > 0:
        scene += scenery.lamps * np.float32(0.45 * dusk * (1 - 0.6 * weather.fog))
    return scene


def _reflect(
    rng: np.random.Generator,
    scene: Floats,
    sky: Floats,
    scenery: Scenery,
    camera: Camera,
    horizon: int,
    ambient: Floats,
) -> None:
    """Water mirrors what stands above it, broken by ripples."""
    rows = np.arange(horizon, camera.height)
    depth = (rows - horizon)[:, None] + 1
    calm = 0.35 + 0.65 * camera.scenic
    ripple = rng.normal(0, 1, (len(rows), camera.width // 8 + 2)).astype(np.float32)
    wide = np.asarray(
        Image.fromarray(ripple).resize((camera.width, len(rows)), Image.Resampling.BILINEAR)
    )
    jitter = wide * (0.08 + 0.25 * (1 - calm)) * depth
    source = np.clip(horizon - 1 - depth * 0.85 + jitter, 0, horizon - 1).astype(np.intp)
    mirrored = scene[source, np.arange(camera.width)[None, :]]
    shine = (0.35 + 0.4 * np.exp(-depth / (0.25 * camera.height))).astype(np.float32)[..., None]
    water = mirrored * shine + scenery.albedo[horizon:] * ambient * 0.8
    share = scenery.water[horizon:, :, None]
    scene[horizon:] += (water - scene[horizon:]) * share


def _expose(
    rng: np.random.Generator, camera: Camera, scene: Floats, sun_elevation: float
) -> NDArray[np.uint8]:
    """Turn light into pixels as this camera does."""
    height, width = scene.shape[:2]
    brightness = float(scene.mean())
    gain = 2 ** (camera.exposure + rng.normal(0, 0.22)) * (0.26 / max(brightness, 1e-3)) ** 0.55
    gain = min(gain, 6.0)
    red, blue = camera.white_balance
    scene *= np.float32([gain * red, gain, gain * blue])
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    scene *= (1 - camera.vignette * (x * x + y * y) / 2)[..., None]
    # A shoulder instead of a hard clip, as any camera's tone curve has.
    np.maximum(scene, 0, out=scene)
    scene = 1 - np.exp(-1.35 * scene)
    np.power(scene, np.float32(1 / 2.2), out=scene)
    grey = scene.mean(axis=2, keepdims=True)
    scene = grey + (scene - grey) * np.float32(camera.saturation)
    scene = 0.5 + (scene - 0.5) * np.float32(camera.contrast)
    darkness = float(np.clip((2 - sun_elevation) / 8, 0, 1))
    grain = camera.noise * (1 + 3.5 * darkness)
    scene += rng.standard_normal(scene.shape[:2], np.float32)[..., None] * np.float32(grain)
    scene += rng.standard_normal(scene.shape, np.float32) * np.float32(grain * 0.5)
    return (np.clip(scene, 0, 1) * 255 + 0.5).astype(np.uint8)


def _with_caption(picture: Image.Image, frame: Snapshot) -> Image.Image:
    """Name and time, where the camera writes them into the picture."""
    camera = frame.scene
    if camera.caption == "none":
        return picture
    local = frame.captured_at + timedelta(hours=round(camera.longitude / 15))
    text = f"{camera.title}   {local:%Y-%m-%d %H:%M}"
    size = max(8, round(picture.height * 0.036))
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(picture)
    if camera.caption == "bar":
        draw.rectangle((0, 0, picture.width, size * 1.5), fill=(24, 28, 36))
        draw.text((size * 0.5, size * 0.15), text, fill=(235, 235, 235), font=font)
    else:
        at = (size * 0.6, picture.height - size * 1.7)
        draw.text((at[0] + 1, at[1] + 1), text, fill=(10, 10, 10), font=font)
        draw.text(at, text, fill=(250, 250, 250), font=font)
    return picture


@lru_cache(maxsize=1)
def _offline_card() -> Image.Image:
    """The provider's placeholder, the same for every webcam."""
    card = Image.new("RGB", (400, 224), (58, 62, 70))
    draw = ImageDraw.Draw(card)
    draw.rounded_rectangle((150, 46, 250, 116), 10, outline=(150, 156, 166), width=5)
    draw.ellipse((180, 61, 220, 101), outline=(150, 156, 166), width=5)
    draw.line((140, 126, 262, 36), fill=(190, 80, 70), width=6)
    font = ImageFont.load_default(20)
    draw.text((200, 150), "This webcam is offline", fill=(210, 214, 220), font=font, anchor="mm")
    draw.text((200, 178), "Please try again later", fill=(140, 146, 156), font=font, anchor="mm")
    return card


def _mirrored(picture: Image.Image) -> Image.Image:
    """The same frame as another provider passes it on: cropped a little, smaller."""
    dx, dy = picture.width * MIRROR_CROP, picture.height * MIRROR_CROP
    size = (round(picture.width * MIRROR_WIDTH), round(picture.height * MIRROR_WIDTH))
    box = (dx, dy, picture.width - dx, picture.height - dy)
    return picture.resize(size, Image.Resampling.BICUBIC, box=box)


def _encode(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
