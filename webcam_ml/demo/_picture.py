"""From a snapshot to the bytes of its JPEG: sky, foreground, and what the camera makes of them."""

import io
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from webcam_ml.demo._cameras import Camera
from webcam_ml.demo._canvas import Scenery
from webcam_ml.demo._options import Stream, random_stream
from webcam_ml.demo._plan import Shows, Snapshot
from webcam_ml.demo._scenery import draw_scenery
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
from webcam_ml.demo._weather import facing

TRUNCATED_TO = 0.55  # of the bytes of a truncated file
MIRROR_CROP = 0.015  # of each side
MIRROR_WIDTH = 0.9
MIRROR_QUALITY = 60
CARD_QUALITY = 80
PIVOT = 0.5  # what contrast leaves as it is
MOST_GAIN = 6.0
LEAST_BLUR = 0.2  # pixels


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
            camera = frame.scene
            if frame.shows is Shows.OFFLINE_CARD:
                data = _encode(_offline_card(), CARD_QUALITY)
            else:
                if scenery is None:
                    scenery = draw_scenery(seed, camera)
                if clouds is None:
                    sun = frame.crossing_azimuth - camera.view_azimuth
                    clouds = draw_cloud_maps(seed, camera, visit, frame.weather, sun)
                picture = draw_view(seed, Stage(view_of(camera), scenery, clouds), frame)
                mirrored = frame.shows is Shows.MIRROR
                data = _encode(
                    _mirrored(picture) if mirrored else picture,
                    MIRROR_QUALITY if mirrored else camera.jpeg_quality,
                )
            yield frame, data[: int(len(data) * TRUNCATED_TO)] if frame.truncated else data


def draw_view(seed: int, stage: Stage, frame: Snapshot) -> Image.Image:
    """Draw what the camera shows at one moment."""
    camera = frame.scene
    rng = random_stream(seed, Stream.SENSOR, camera.index, frame.scene_visit, frame.moment)
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
    picture = _expose(rng, camera, scene, frame.sun_elevation)
    return _with_caption(picture, frame)


def _with_foreground(
    rng: np.random.Generator, stage: Stage, sky: Floats, frame: Snapshot
) -> Floats:
    """Put the foreground before the sky and light it, linear light, (3, height, width)."""
    camera, weather, scenery = frame.scene, frame.weather, stage.scenery
    horizon = stage.view.horizon
    zenith = sky[:, 0].mean(axis=1)
    ambient = sky.mean(axis=(1, 2))
    # Towards a low sun the foreground shows its unlit side; away from it, it glows.
    towards = facing(camera, frame.sun_azimuth)
    low_sun = float(np.clip((frame.sun_elevation + 1) / 8, 0, 1)) * (1 - weather.low_cover) ** 0.7
    direct = sunlight(frame.sun_elevation) * np.float32(low_sun * (0.95 - 0.75 * towards))
    light = ambient * np.float32(1.1 - 0.6 * towards * (1 - weather.low_cover**2)) + direct
    scene = np.empty((3, camera.height, camera.width), np.float32)
    scene[:, :horizon] = sky
    scene[:, horizon:] = sky[:, -1:]
    scene *= scenery.open
    scene += scenery.albedo * light[:, None, None]
    if scenery.water.any():
        _reflect(rng, scene, stage, camera, ambient)
    solid = 1 - (0.75 * (1 - weather.fog)) * scenery.water
    thick = 1 - np.exp(scenery.depth * np.float32(-(1.2 * (1 - weather.clarity) + 0.06)))
    if weather.fog:
        hidden = np.float32(0.95 * weather.fog) * (1 - scenery.open)
        thick = np.maximum(thick, hidden * (0.35 + 0.65 * scenery.depth))
    thick *= solid
    mist = haze_colour(weather, zenith, sun_elevation=frame.sun_elevation)
    dusk = np.float32(0.4 * np.clip((1 - frame.sun_elevation) / 5, 0, 1) * (1 - 0.6 * weather.fog))
    for channel in range(3):
        scene[channel] += (mist[channel] - scene[channel]) * thick
        if dusk > 0:
            scene[channel] += scenery.lamps[channel] * dusk
    return scene


def _reflect(
    rng: np.random.Generator, scene: Floats, stage: Stage, camera: Camera, ambient: Floats
) -> None:
    """Water mirrors what stands above it, broken by ripples."""
    horizon = stage.view.horizon
    rows = camera.height - horizon
    down = np.arange(1, rows + 1, dtype=np.float32)[:, None]
    ripples = rng.standard_normal((rows, camera.width // 8 + 2), np.float32)
    size = (camera.width, rows)
    rough = np.asarray(Image.fromarray(ripples).resize(size, Image.Resampling.BILINEAR))
    calm = 0.3 + 0.7 * camera.scenic
    above = horizon - 1 - down * 0.85 + rough * down * np.float32(0.33 - 0.25 * calm)
    source = np.clip(above, 0, horizon - 1).astype(np.int32)
    source *= camera.width
    source += np.arange(camera.width, dtype=np.int32)
    shine = 0.4 + 0.4 * np.exp(down * np.float32(-4 / camera.height))
    share = stage.scenery.water[horizon:]
    for channel in range(3):
        mirrored = scene[channel].take(source)
        mirrored *= shine
        mirrored += stage.scenery.albedo[channel, horizon:] * (ambient[channel] * np.float32(0.7))
        scene[channel, horizon:] += (mirrored - scene[channel, horizon:]) * share


def _expose(
    rng: np.random.Generator, camera: Camera, scene: Floats, sun_elevation: float
) -> Image.Image:
    """Turn light into a picture as this camera does."""
    height, width = scene.shape[1:]
    # Automatic exposure: it corrects only part of the difference, and varies at random.
    gain = 2 ** (camera.exposure + rng.normal(0, 0.13)) * (0.25 / float(scene.mean())) ** 0.55
    red, blue = camera.white_balance
    cast = scene.mean(axis=(1, 2))
    neutral = (cast.mean() / cast) ** camera.auto_white_balance
    gains = neutral * np.array([red, 1, blue]) * min(gain, MOST_GAIN)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    lens = 1 - np.float32(camera.vignette / 2) * (x * x + y * y)
    for channel in range(3):
        scene[channel] *= lens * np.float32(gains[channel])
    # A shoulder instead of a hard clip, as any camera's tone curve has; then gamma 2.
    np.maximum(scene, 0, out=scene)
    scene *= 1.25 / (scene + np.float32(0.75))
    np.sqrt(scene, out=scene)
    darkness = float(np.clip((1 - sun_elevation) / 9, 0, 1))
    grain = np.float32(camera.noise * (1 + 3 * darkness))
    grey = scene.mean(axis=0)
    # Contrast and saturation about their middles, and grain, in one step.
    contrast, saturation = np.float32(camera.contrast), np.float32(camera.saturation)
    base = grey * (contrast * (1 - saturation)) + np.float32(PIVOT * (1 - camera.contrast))
    base += rng.standard_normal(grey.shape, np.float32) * grain
    scene *= contrast * saturation
    scene += base
    np.clip(scene, 0, 1, out=scene)
    pixels = (scene * 255 + np.float32(0.5)).astype(np.uint8)
    picture = Image.merge("RGB", [Image.fromarray(plane) for plane in pixels])
    radius = camera.blur * width / 640
    return picture.filter(ImageFilter.BoxBlur(radius)) if radius > LEAST_BLUR else picture


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
