"""The sky of a picture: air, sun and clouds, in linear light before any camera sees it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from webcam_ml.demo._cameras import Camera
from webcam_ml.demo._options import Stream, random_stream
from webcam_ml.demo._weather import Weather, cloud_light

Floats = NDArray[np.float32]

TILE = 512  # pixels of the repeating cloud map, along each side
TILE_SPAN = 9.0  # cloud heights that it covers

# Colours of the clear sky as a camera renders them (sRGB, 0-255), by sun elevation: under the sun
# at the horizon, 8° up and 35° up, then the same away from the sun.
_SKY_KEYS: tuple[tuple[float, tuple[tuple[int, int, int], ...]], ...] = (
    (14, ((226, 226, 215), (165, 198, 228), (92, 142, 204), (205, 216, 226), (140, 182, 222), (82, 134, 200))),
    (5, ((250, 226, 170), (202, 203, 196), (100, 144, 194), (186, 192, 206), (140, 172, 208), (84, 126, 182))),
    (1, ((255, 190, 100), (232, 186, 140), (98, 130, 172), (168, 160, 178), (146, 160, 194), (82, 112, 162))),
    (-2, ((252, 146, 62), (224, 150, 108), (82, 102, 142), (112, 108, 140), (118, 118, 158), (66, 84, 126))),
    (-5, ((206, 96, 46), (142, 92, 84), (44, 56, 90), (50, 56, 84), (52, 60, 94), (34, 44, 76))),
    (-8, ((104, 56, 40), (48, 42, 58), (18, 24, 46), (22, 26, 46), (22, 28, 50), (16, 20, 40))),
    (-12, ((34, 26, 30), (18, 20, 34), (9, 12, 26), (12, 14, 28), (11, 14, 28), (8, 11, 24))),
)  # fmt: skip
# The colour of sunlight on clouds, by sun elevation, in linear light.
_SUNLIGHT: tuple[tuple[float, tuple[float, float, float]], ...] = (
    (14, (1.0, 0.97, 0.92)),
    (6, (1.0, 0.86, 0.66)),
    (2, (1.0, 0.66, 0.36)),
    (0, (1.0, 0.50, 0.22)),
    (-2, (1.0, 0.33, 0.20)),
    (-4, (0.80, 0.20, 0.24)),
    (-6, (0.36, 0.12, 0.20)),
    (-9, (0.03, 0.03, 0.06)),
)


def to_linear(colour: NDArray[np.floating] | tuple[float, ...]) -> Floats:
    """Linear light, 0 to 1, of sRGB values from 0 to 255."""
    return ((np.asarray(colour, np.float32) / 255) ** np.float32(2.2)).astype(np.float32)


def by_elevation(
    keys: tuple[tuple[float, tuple[float, float, float]], ...], elevation: float
) -> Floats:
    """A colour between its two neighbours in a table ordered from high to low elevation."""
    heights = [key for key, _ in reversed(keys)]
    table = np.array([colour for _, colour in reversed(keys)])
    return np.array(
        [np.interp(elevation, heights, table[:, channel]) for channel in range(3)], np.float32
    )


def sunlight(elevation: float) -> Floats:
    """Colour of direct sunlight, linear."""
    return by_elevation(_SUNLIGHT, elevation)


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
    """Sums of a cloud map along the view, from which far rows take honest means."""

    density: NDArray[np.float64]
    relief: NDArray[np.float64]
    thickness: float
    altitude: float


@dataclass(frozen=True)
class CloudMaps:
    """The clouds of one visit, seen from below; they drift from frame to frame."""

    low: _CloudLayer | None
    high: _CloudLayer | None


def draw_cloud_maps(
    seed: int, camera: Camera, visit: int, weather: Weather, sun: float
) -> CloudMaps:
    """Draw the clouds of a visit.

    Args:
        seed: The demo's.
        camera: Whose.
        visit: Number among the camera's.
        weather: Cover and softness.
        sun: Azimuth of the sun against the middle of the picture, degrees.
    """
    rng = random_stream(seed, Stream.CLOUDS, camera.index, visit)
    low_noise = _fractal(rng, slope=1.55, stretch=(1.0, 1.0))
    high_noise = _fractal(rng, slope=1.75, stretch=(1.0, 3.5))
    low = high = None
    if weather.low_cover > 0.01:
        low = _layer(
            low_noise,
            weather.low_cover,
            0.25 + 0.7 * weather.softness,
            sun,
            thick=2.6,
            altitude=1.0,
        )
    if weather.high_cover > 0.01:
        high = _layer(high_noise, weather.high_cover, 1.6, sun, thick=0.75, altitude=2.2)
    return CloudMaps(low, high)


def _fractal(rng: np.random.Generator, *, slope: float, stretch: tuple[float, float]) -> Floats:
    """Repeating noise with a power-law spectrum, mean 0 and deviation 1, (TILE, TILE)."""
    rows = np.fft.fftfreq(TILE)[:, None] * TILE * stretch[0]
    columns = np.fft.rfftfreq(TILE)[None, :] * TILE * stretch[1]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    amplitude = np.where(frequency < 2.5, 2.5, frequency) ** -slope
    shape = amplitude.shape
    spectrum = amplitude * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
    noise = np.fft.irfft2(spectrum, s=(TILE, TILE))
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)


def _layer(
    noise: Floats, cover: float, softness: float, sun: float, *, thick: float, altitude: float
) -> _CloudLayer:
    threshold = float(np.quantile(noise[::4, ::4], 1 - min(cover, 0.995)))
    density = np.clip((noise - threshold) / softness, 0, 1)
    density = density * density * (3 - 2 * density)
    # Rows run away from the camera, columns to the right: the side towards the sun is lit.
    away, right = np.cos(np.radians(sun)), np.sin(np.radians(sun))
    step = 7
    shifted = np.roll(noise, (-round(step * away), -round(step * right)), (0, 1))
    relief = np.clip((noise - shifted) * 1.1, -1, 1) * density
    return _CloudLayer(
        density=_running_sum(density),
        relief=_running_sum(relief),
        thickness=thick,
        altitude=altitude,
    )


def _running_sum(tile: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sums of the rows before each, (TILE + 1, TILE)."""
    sums = np.zeros((TILE + 1, TILE))
    np.cumsum(tile, axis=0, out=sums[1:], dtype=np.float64)
    return sums


def _row_means(sums: NDArray[np.float64], start: Floats, length: Floats) -> Floats:
    """Mean of the tile's rows over an interval each, (len(start), TILE)."""

    def total(position: NDArray[np.float64]) -> NDArray[np.float64]:
        turns, rest = np.divmod(position, TILE)
        whole = rest.astype(np.intp)
        part = (rest - whole)[:, None]
        inner = sums[whole] * (1 - part) + sums[np.minimum(whole + 1, TILE)] * part
        return inner + turns[:, None] * sums[TILE]

    begin = start.astype(np.float64)
    extent = np.maximum(length.astype(np.float64), 1.0)
    return ((total(begin + extent) - total(begin)) / extent[:, None]).astype(np.float32)


def _seen(
    layer: _CloudLayer, view: View, weather: Weather, minutes: float
) -> tuple[Floats, Floats]:
    """Density and relief of a layer at every pixel of the sky, (rows, columns) each."""
    scale = TILE / TILE_SPAN * weather.cloud_scale / layer.altitude**0.5
    # The earth is round: clouds come down to the horizon, they do not go on for ever.
    lifted = np.radians(view.elevation[:, 0] + 1.1 + 0.12 * view.elevation[:, 0] ** 0.5)
    distance = layer.altitude / np.tan(lifted)
    across, along = weather.wind
    away = (distance + along * minutes) * scale
    length = np.abs(np.gradient(away))
    # Columns widen with distance.
    right = (distance[:, None] * view.columns[None, :] + across * minutes) * scale
    right %= TILE
    whole = right.astype(np.intp)
    part = right - whole
    offsets = (np.arange(len(away)) * TILE)[:, None]
    left_at = offsets + whole
    right_at = offsets + (whole + 1) % TILE
    seen = []
    for sums in (layer.density, layer.relief):
        strips = _row_means(sums, away - length / 2, length).ravel()
        near = strips.take(left_at)
        seen.append(near + (strips.take(right_at) - near) * part)
    return seen[0], seen[1]


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
        Linear light, (view.horizon, width, 3); the clear sky around noon is about 0.5.
    """
    off_axis = (sun_azimuth - camera.view_azimuth + 180) % 360 - 180
    # A column looks towards the sun (1) or away from it (0).
    apart = view.azimuth - np.float32(off_axis)
    towards = np.exp(-((apart / 62) ** 2)).astype(np.float32)
    sky = _clear_sky(view, weather, sun_elevation, towards)
    transmission = np.ones(sky.shape[:2], np.float32)
    zenith = sky[0].mean(axis=0)
    colour = sunlight(sun_elevation)
    daylight = float(np.clip((sun_elevation + 7) / 11, 0, 1))
    glow = cloud_light(sun_elevation)
    for layer in (clouds.high, clouds.low):
        if layer is None:
            continue
        density, relief = _seen(layer, view, weather, minutes)
        grey = zenith.mean() * (0.62 if layer is clouds.low else 0.95)
        shade = (0.45 * zenith + 0.55 * grey).astype(np.float32)
        opacity = 1 - np.exp(
            -layer.thickness
            * density
            * (1 + 0.04 * np.minimum(1 / np.tan(np.radians(view.elevation + 2)), 15))
        )
        # By day clouds are lit from above, at dusk from below and from the sun's side.
        thin = 1 - 0.55 * density
        side = np.clip(0.55 + 0.9 * relief / np.maximum(density, 0.15), 0.05, 1.4)
        direct = side * thin * (0.35 + 0.65 * towards[None, :])
        # Light of the low sun fades upwards less than the glow of the air does.
        strength = (1.25 * glow * weather.opening) * direct
        white = (
            daylight**1.5 * (0.25 + 0.4 * (1 - glow)) * (1 - 0.55 * density * (layer is clouds.low))
        )
        lit = (
            shade
            + colour * strength[..., None] * 0.85
            + np.float32([1.0, 0.98, 0.95])
            * (white * (0.3 + 0.7 * (1 - weather.low_cover**3)))[..., None]
            * 0.75
        )
        sky += (lit - sky) * opacity[..., None]
        transmission *= 1 - opacity
    _add_sun(sky, view, weather, apart, transmission, sun_elevation, colour)
    _add_bank_and_haze(sky, view, weather, sun_elevation, zenith)
    return sky


def _clear_sky(view: View, weather: Weather, sun_elevation: float, towards: Floats) -> Floats:
    keys = [
        to_linear(
            by_elevation(
                tuple((height, colours[place]) for height, colours in _SKY_KEYS), sun_elevation
            )
        )
        for place in range(6)
    ]
    # Clean air with the right dust glows; without it the colours stay pale.
    low_sun = float(np.exp(-(((sun_elevation + 1.5) / 5) ** 2)))
    for place in (0, 1):
        grey = keys[place].mean()
        amount = 1 - low_sun + low_sun * (0.25 + 1.0 * weather.vivid)
        keys[place] = np.maximum(grey + (keys[place] - grey) * amount, 0.002) * (
            1 - 0.35 * low_sun * (1 - weather.vivid)
        )
    up = np.clip(view.elevation / 35, 0, 1)
    low = np.exp(-view.elevation / 6.5)
    middle = np.exp(-(((view.elevation - 8) / 9) ** 2)) * (1 - low)
    high = 1 - low - middle + 0 * up
    sun_side = low * keys[0] + middle * keys[1] + high * keys[2]
    far_side = low * keys[3] + middle * keys[4] + high * keys[5]
    sky: Floats = far_side[:, None, :] + (sun_side - far_side)[:, None, :] * towards[None, :, None]
    return sky.astype(np.float32)


def _add_sun(
    sky: Floats,
    view: View,
    weather: Weather,
    apart: Floats,
    transmission: Floats,
    sun_elevation: float,
    colour: Floats,
) -> None:
    """The disk and its glare, where clouds let them through."""
    if sun_elevation < -6:
        return
    distance = np.hypot(view.elevation - sun_elevation, apart[None, :])
    clear = (1 - weather.fog) * (0.4 + 0.6 * weather.clarity)
    glare = 0.5 * np.exp(-distance / 4.5) + 0.28 * np.exp(-distance / 14)
    strength = float(np.clip((sun_elevation + 6) / 6, 0, 1)) * clear
    sky += (glare * strength * (0.3 + 0.7 * transmission))[..., None] * colour
    if sun_elevation > -0.6:
        disk = np.clip((0.75 - distance) / 0.25, 0, 1) * transmission * clear
        sky += disk[..., None] * (colour * 2.5 + 0.8)


def _add_bank_and_haze(
    sky: Floats, view: View, weather: Weather, sun_elevation: float, zenith: Floats
) -> None:
    bank = np.clip((weather.bank - view.elevation) / 1.2 + 0.5, 0, 1) * 0.85
    dull = (0.55 * zenith + 0.35 * zenith.mean() + 0.004).astype(np.float32)
    sky += (dull - sky) * bank[..., None] * (1.0 if weather.low_cover > 0.05 else 0.5)
    haze = (1 - weather.clarity) * 0.75 * np.exp(-view.elevation / 7)
    haze = np.maximum(haze, weather.fog * 0.96)
    mist = haze_colour(sun_elevation, zenith)
    sky += (mist - sky) * haze[..., None]


def haze_colour(sun_elevation: float, zenith: Floats) -> Floats:
    """What distance fades to: grey by day, a dull warmth at dusk."""
    grey = float(zenith.mean())
    warmth = 0.25 * cloud_light(sun_elevation)
    mist = grey * np.array([1.05 + warmth, 1.0, 1.0 - 0.6 * warmth]) * 1.15 + 0.01
    return mist.astype(np.float32)
