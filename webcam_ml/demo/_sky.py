"""The sky of a picture: air, sun and clouds, in linear light before any camera sees it."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from webcam_ml.demo._cameras import Camera
from webcam_ml.demo._options import Stream, random_stream
from webcam_ml.demo._weather import Weather, cloud_light

Floats = NDArray[np.float32]
ColourTable = tuple[tuple[float, tuple[tuple[float, float, float], ...]], ...]

TILE = 512  # pixels of the repeating cloud map, along each side
TILE_SPAN = 10.0  # cloud heights that it covers
LARGEST_CLOUDS = 2.5  # waves across it; longer ones are no single clouds
LEAST_COVER = 0.01

# Colours of the clear sky as a camera renders them (sRGB, 0-255), by sun elevation: at the horizon,
# 8° up and 35° up, under the sun and away from it.
_UNDER_SUN: ColourTable = (
    (14, ((226, 226, 215), (165, 198, 228), (92, 142, 204))),
    (5, ((250, 226, 170), (202, 203, 196), (100, 144, 194))),
    (1, ((255, 190, 100), (232, 186, 140), (98, 130, 172))),
    (-2, ((252, 146, 62), (224, 150, 108), (82, 102, 142))),
    (-5, ((206, 96, 46), (142, 92, 84), (44, 56, 90))),
    (-8, ((104, 56, 40), (48, 42, 58), (18, 24, 46))),
    (-12, ((34, 26, 30), (18, 20, 34), (9, 12, 26))),
)
_AWAY_FROM_SUN: ColourTable = (
    (14, ((205, 216, 226), (140, 182, 222), (82, 134, 200))),
    (5, ((186, 192, 206), (140, 172, 208), (84, 126, 182))),
    (1, ((168, 160, 178), (146, 160, 194), (82, 112, 162))),
    (-2, ((112, 108, 140), (118, 118, 158), (66, 84, 126))),
    (-5, ((50, 56, 84), (52, 60, 94), (34, 44, 76))),
    (-8, ((22, 26, 46), (22, 28, 50), (16, 20, 40))),
    (-12, ((12, 14, 28), (11, 14, 28), (8, 11, 24))),
)
# The colour of sunlight on clouds, by sun elevation, in linear light.
_SUNLIGHT: ColourTable = (
    (14, ((1.0, 0.95, 0.86),)),
    (6, ((1.0, 0.78, 0.50),)),
    (2, ((1.0, 0.52, 0.20),)),
    (0, ((1.0, 0.34, 0.09),)),
    (-2, ((1.0, 0.20, 0.10),)),
    (-4, ((0.75, 0.11, 0.16),)),
    (-6, ((0.30, 0.07, 0.14),)),
    (-9, ((0.03, 0.03, 0.06),)),
)


def by_elevation(table: ColourTable, elevation: float) -> Floats:
    """Colours between their neighbours in a table ordered from high to low sun, (colours, 3)."""
    heights = np.array([height for height, _ in reversed(table)])
    colours = np.array([colours for _, colours in reversed(table)])
    place = float(np.interp(elevation, heights, np.arange(len(heights))))
    below = min(int(place), len(heights) - 2)
    mixed = colours[below] + (colours[below + 1] - colours[below]) * (place - below)
    return np.asarray(mixed, np.float32)


def sunlight(elevation: float) -> Floats:
    """Colour of direct sunlight, linear, (3,)."""
    colour: Floats = by_elevation(_SUNLIGHT, elevation)[0]
    return colour


@dataclass(frozen=True)
class View:
    """Where the pixels of a camera's sky look.

    Attributes:
        focal: Pixels.
        horizon: Row of the horizon.
        elevation: Of each row above it, degrees, (rows, 1).
        azimuth: Of each column against the camera's middle, degrees, (columns,).
        columns: Horizontal distance from the middle over the focal length, (columns,).
    """

    focal: float
    horizon: int
    elevation: Floats
    azimuth: Floats
    columns: Floats


def view_of(camera: Camera) -> View:
    """The geometry of a camera's sky: rectilinear, looking level."""
    focal = camera.width / 2 / np.tan(np.radians(camera.field_of_view / 2))
    horizon = round(camera.height * camera.horizon)
    rows = horizon - np.arange(horizon, dtype=np.float32)[:, None] - 0.5
    columns = (np.arange(camera.width, dtype=np.float32) + 0.5 - camera.width / 2) / focal
    return View(
        focal=float(focal),
        horizon=horizon,
        elevation=np.degrees(np.arctan(rows / focal)).astype(np.float32),
        azimuth=np.degrees(np.arctan(columns)).astype(np.float32),
        columns=columns.astype(np.float32),
    )


@dataclass(frozen=True)
class _CloudLayer:
    """One layer of cloud as a repeating map seen from below.

    Attributes:
        density, relief: Sums of the rows before each, from which far rows take exact means.
        altitude: Height of its base, in heights of the low clouds.
        thickness: Optical, where it is densest.
        shade: Brightness of its unlit side against the sky overhead.
        fluff: How much of it the light of day reaches from above.
    """

    density: NDArray[np.float64]
    relief: NDArray[np.float64]
    altitude: float
    thickness: float
    shade: float
    fluff: float


# From far to near.
CloudMaps = tuple[_CloudLayer, ...]


def draw_cloud_maps(
    seed: int, camera: Camera, visit: int, weather: Weather, sun: float
) -> CloudMaps:
    """Draw the clouds of one visit; they drift from frame to frame.

    Args:
        seed: The demo's.
        camera: Whose.
        visit: Number among the camera's.
        weather: Cover and softness.
        sun: Azimuth of the rising or setting sun against the middle of the picture, degrees.
    """
    rng = random_stream(seed, Stream.CLOUDS, camera.index, visit)
    layers = []
    for cover, slope, stretch, softness, altitude, thickness, shade, fluff in (
        (weather.high_cover, 1.9, 3.0, 1.7, 2.2, 0.9, 0.95, 0.9),
        (weather.low_cover, 1.75, 1.0, 0.25 + 0.7 * weather.softness, 1.0, 3.0, 0.5, 0.45),
    ):
        noise = _fractal(rng, slope=slope, stretch=stretch)
        if cover > LEAST_COVER:
            density, relief = _cloud_map(noise, cover, softness, sun)
            layers.append(_CloudLayer(density, relief, altitude, thickness, shade, fluff))
    return tuple(layers)


def _fractal(rng: np.random.Generator, *, slope: float, stretch: float) -> Floats:
    """Repeating noise with a power-law spectrum, mean 0 and deviation 1, (TILE, TILE)."""
    amplitude = _spectrum(slope, stretch)
    waves = rng.standard_normal((2, *amplitude.shape), np.float32)
    noise = np.fft.irfft2(amplitude * (waves[0] + 1j * waves[1]), s=(TILE, TILE))
    return np.asarray(noise / noise.std(), np.float32)


@cache
def _spectrum(slope: float, stretch: float) -> Floats:
    """Amplitudes of waves by frequency, (TILE, TILE // 2 + 1), without the mean."""
    rows = np.fft.fftfreq(TILE)[:, None] * TILE
    columns = np.fft.rfftfreq(TILE)[None, :] * TILE * stretch
    amplitude = np.maximum(np.hypot(rows, columns), LARGEST_CLOUDS) ** -slope
    amplitude[0, 0] = 0
    return np.asarray(amplitude, np.float32)


def _cloud_map(
    noise: Floats, cover: float, softness: float, sun: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Running sums of density and of relief, (TILE + 1, TILE) each."""
    threshold = float(np.quantile(noise[::4, ::4], 1 - min(cover, 0.995)))
    density = np.clip((noise - threshold) / softness, 0, 1)
    density *= density * (3 - 2 * density)
    # Rows run away from the camera, columns to the right: the side towards the sun is lit.
    step = 6
    away, right = round(step * np.cos(np.radians(sun))), round(step * np.sin(np.radians(sun)))
    relief = np.clip((noise - np.roll(noise, (-away, -right), (0, 1))) * 1.3, -1, 1) * density
    return _running_sum(density), _running_sum(relief)


def _running_sum(tile: Floats) -> NDArray[np.float64]:
    sums = np.zeros((TILE + 1, TILE))
    for row in range(TILE):  # ten times as fast as cumsum along the far axis
        np.add(sums[row], tile[row], out=sums[row + 1])
    return sums


def _row_means(
    sums: NDArray[np.float64], start: NDArray[np.float64], length: NDArray[np.float64]
) -> Floats:
    """Mean of the map's rows over an interval for each row of the picture, (rows, TILE)."""
    extent = np.maximum(length, 1.0)

    def total(position: NDArray[np.float64]) -> NDArray[np.float64]:
        turns, rest = np.divmod(position, TILE)
        whole = rest.astype(np.intp)
        lower = sums[whole]
        lower += (sums[whole + 1] - lower) * (rest - whole)[:, None]
        lower += turns[:, None] * sums[TILE]
        return lower

    means = (total(start + extent) - total(start)) / extent[:, None]
    return means.astype(np.float32)


def _seen(
    layer: _CloudLayer, view: View, weather: Weather, minutes: float
) -> tuple[Floats, Floats]:
    """Density and relief of a layer at every pixel of the sky, (rows, columns) each."""
    scale = TILE / TILE_SPAN * weather.cloud_scale / layer.altitude**0.5
    # The earth is round: clouds come down to the horizon, they do not go on for ever.
    elevation = view.elevation[:, 0]
    distance = layer.altitude / np.tan(np.radians(elevation + 1.1 + 0.12 * elevation**0.5))
    across, along = weather.wind
    away = (distance.astype(np.float64) + along * minutes) * scale
    length = np.abs(np.gradient(away))
    # Columns widen with distance.
    right = (distance[:, None] * view.columns[None, :] + np.float32(across * minutes)) * np.float32(
        scale
    )
    right %= TILE
    whole = right.astype(np.int32)
    part = (right - whole).astype(np.float32)
    whole %= TILE  # a remainder may round up to TILE itself
    offsets = (np.arange(len(away), dtype=np.int32) * TILE)[:, None]
    left_at = offsets + whole
    right_at = offsets + (whole + 1) % TILE
    density, relief = (
        _between(_row_means(sums, away - length / 2, length).ravel(), left_at, right_at, part)
        for sums in (layer.density, layer.relief)
    )
    return density, relief


def _between(
    values: Floats, left_at: NDArray[np.int32], right_at: NDArray[np.int32], part: Floats
) -> Floats:
    left = values.take(left_at)
    right = values.take(right_at)
    right -= left
    right *= part
    right += left
    return right


def draw_sky(
    camera: Camera,
    view: View,
    weather: Weather,
    clouds: CloudMaps,
    *,
    sun_elevation: float,
    sun_azimuth: float,
    minutes: float,
) -> Floats:
    """Draw the sky above the horizon.

    Args:
        camera: Gives the direction.
        view: The camera's geometry.
        weather: Of the visit.
        clouds: Of the visit.
        sun_elevation: Degrees.
        sun_azimuth: Degrees.
        minutes: Since the sun's crossing, for the drift of the clouds.

    Returns:
        Linear light, (3, view.horizon, width); a clear sky by day is about 0.4.
    """
    off_axis = (sun_azimuth - camera.view_azimuth + 180) % 360 - 180
    apart = view.azimuth - np.float32(off_axis)
    # A column looks towards the sun (1) or away from it (0).
    towards = np.exp(-((apart / 62) ** 2))
    sky = _clear_sky(view, weather, sun_elevation, towards)
    zenith = sky[:, 0].mean(axis=1)
    clear = np.ones(sky.shape[1:], np.float32)
    for layer in clouds:
        opacity, lit = _cloud_light(
            layer,
            view,
            weather,
            zenith=zenith,
            towards=towards,
            sun_elevation=sun_elevation,
            minutes=minutes,
        )
        lit -= sky
        lit *= opacity
        sky += lit
        clear *= 1 - opacity
    _add_sun(sky, view, weather, apart=apart, clear=clear, sun_elevation=sun_elevation)
    _add_bank_and_haze(sky, view, weather, zenith, sun_elevation=sun_elevation)
    return sky


def _clear_sky(view: View, weather: Weather, sun_elevation: float, towards: Floats) -> Floats:
    # Linear light of sRGB values.
    towards_keys, away_keys = (
        (by_elevation(table, sun_elevation) / 255) ** np.float32(2.2)
        for table in (_UNDER_SUN, _AWAY_FROM_SUN)
    )
    # Clean air with the right dust glows; without it the colours stay pale and weak.
    low_sun = float(np.exp(-(((sun_elevation + 1.5) / 5) ** 2)))
    amount = 1 + low_sun * (1.5 * weather.vivid - 0.95)
    grey = towards_keys[:2].mean(axis=1, keepdims=True)
    vivid = np.maximum(grey + (towards_keys[:2] - grey) * amount, 0.002)
    towards_keys[:2] = vivid * (1 - 0.5 * low_sun * (1 - weather.vivid))
    low = np.exp(-view.elevation / 5)
    middle = np.exp(-(((view.elevation - 6) / 6.5) ** 2)) * (1 - low)
    shares = np.stack([low, middle, 1 - low - middle])
    sun_side, far_side = (
        (shares[:, None] * keys[:, :, None, None]).sum(axis=0) for keys in (towards_keys, away_keys)
    )
    sky: Floats = far_side + (sun_side - far_side) * towards
    return sky


def _cloud_light(
    layer: _CloudLayer,
    view: View,
    weather: Weather,
    *,
    zenith: Floats,
    towards: Floats,
    sun_elevation: float,
    minutes: float,
) -> tuple[Floats, Floats]:
    """Opacity (rows, columns) and colour (3, rows, columns) of a layer."""
    density, relief = _seen(layer, view, weather, minutes)
    # Seen at a low angle the way through a cloud is long.
    slant = 1 + 0.04 * np.minimum(1 / np.tan(np.radians(view.elevation + 2)), 15)
    opacity = 1 - np.exp(density * (-layer.thickness * slant))
    side = np.clip(0.5 + 1.0 * relief / np.maximum(density, 0.15), 0.0, 1.5)
    # From below and from the sun's side at dusk; thin parts shine through.
    dusk = cloud_light(sun_elevation)
    low = side * (1 - 0.5 * density) * np.float32(3.2 * dusk * weather.opening**1.3)
    low *= 0.3 + 0.7 * towards
    # From above by day.
    day = float(np.clip((sun_elevation + 7) / 11, 0, 1)) ** 1.5 * (1 - 0.75 * dusk)
    thin = 1 - (1 - layer.fluff) * density
    high = (0.35 + 0.5 * side) * thin * np.float32(0.75 * day * (1 - 0.7 * weather.low_cover**3))
    grey = float(zenith.mean())
    shade = (0.5 * zenith + 0.5 * grey) * layer.shade
    sun, white = sunlight(sun_elevation), np.array([1.0, 0.985, 0.96], np.float32)
    colour = np.empty((3, *density.shape), np.float32)
    for channel in range(3):
        np.multiply(low, sun[channel], out=colour[channel])
        colour[channel] += high * white[channel]
        colour[channel] += shade[channel]
    return opacity, colour


def _add_sun(
    sky: Floats,
    view: View,
    weather: Weather,
    *,
    apart: Floats,
    clear: Floats,
    sun_elevation: float,
) -> None:
    """The disk and its glare, where clouds let them through."""
    strength = float(np.clip((sun_elevation + 6) / 6, 0, 1))
    strength *= (1 - weather.fog) * (0.4 + 0.6 * weather.clarity)
    if strength <= 0:
        return
    distance = np.hypot(view.elevation - np.float32(sun_elevation), apart)
    glare = np.exp(distance * np.float32(-1 / 4.5))
    light = (0.45 * glare + 0.22 * np.cbrt(glare)) * (0.3 + 0.7 * clear) * np.float32(strength)
    disk = None
    if sun_elevation > -0.6:
        disk = np.clip((0.75 - distance) * 4, 0, 1) * clear * np.float32(strength)
    for channel, share in enumerate(sunlight(sun_elevation)):
        sky[channel] += light * share
        if disk is not None:
            sky[channel] += disk * (share * np.float32(2.5) + np.float32(0.8))


def _add_bank_and_haze(
    sky: Floats, view: View, weather: Weather, zenith: Floats, *, sun_elevation: float
) -> None:
    bank = np.clip((weather.bank - view.elevation) / 1.2 + 0.5, 0, 1)
    bank *= 0.85 if weather.low_cover > 0.05 else 0.4
    dull = (0.55 * zenith + 0.35 * zenith.mean() + 0.004)[:, None, None]
    sky += (dull - sky) * bank
    haze = (1 - weather.clarity) * 0.6 * np.exp(-view.elevation / 6)
    haze = np.maximum(haze, weather.fog * 0.96).astype(np.float32)
    sky += (haze_colour(weather, zenith, sun_elevation=sun_elevation)[:, None, None] - sky) * haze


def haze_colour(weather: Weather, zenith: Floats, *, sun_elevation: float) -> Floats:
    """What distance fades to: grey by day, a dull warmth at dusk or in dust; linear, (3,)."""
    warmth = 0.25 * cloud_light(sun_elevation)
    mist = np.array([1.05 + warmth, 1.0, 1.0 - 0.6 * warmth]) * (1.1 - warmth)
    mist *= 1 + weather.dust * np.array([0.35, -0.1, -0.5])
    return np.asarray(float(zenith.mean()) * mist + 0.005, np.float32)
