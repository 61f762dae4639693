"""The weather of one evening or morning at one camera, the light in it, and its beauty.

Beauty is what raters would agree on if they had one taste: it is computed from what the picture
shows (clouds, light, air, direction) and never from how the camera renders it (tint, exposure,
noise), so that a model has to look at the sky and not at the white balance.
"""

from dataclasses import dataclass

import numpy as np

from webcam_ml.demo._cameras import Camera
from webcam_ml.demo._options import Stream, random_stream

# Degrees of the sun's elevation.
DAY_ABOVE = 8.0
NIGHT_BELOW = -9.0


@dataclass(frozen=True, kw_only=True)
class Weather:
    """One evening's sky; every attribute without a unit runs from 0 to 1.

    Attributes:
        low_cover, high_cover: Share of the sky behind cumulus, and behind cirrus.
        opening: How far the sun reaches the clouds from below; 0 when the horizon is shut.
        bank: Height of a cloud bank on the horizon, degrees.
        clarity: Of the air; hazy when low.
        vivid: Strength of the colours that the air itself takes on.
        fog: Dense fog at the ground, which hides everything.
        dust: In haze and fog, which turns them brown and orange.
        softness: Of the clouds' edges.
        cloud_scale: Clouds per unit of cloud height.
        wind: Drift of the clouds per minute, across and along the view, in cloud heights.
    """

    low_cover: float
    high_cover: float
    opening: float
    bank: float
    clarity: float
    vivid: float
    fog: float
    dust: float
    softness: float
    cloud_scale: float
    wind: tuple[float, float]


def draw_weather(seed: int, camera: Camera, visit: int) -> Weather:
    """Draw the weather of a camera's n-th visit."""
    rng = random_stream(seed, Stream.WEATHER, camera.index, visit)
    cloudy = camera.cloudiness
    odds = np.array((0.3 - 0.2 * cloudy, 0.2, 0.22, 0.14 + 0.24 * cloudy, 0.12))
    regime = ("clear", "scattered", "broken", "overcast", "murk")[
        rng.choice(5, p=odds / odds.sum())
    ]
    low, high = {
        "clear": (rng.uniform(0, 0.06), rng.uniform(0, 0.15)),
        "scattered": (rng.uniform(0.1, 0.4), rng.uniform(0, 0.5)),
        "broken": (rng.uniform(0.3, 0.75), rng.uniform(0.1, 0.7)),
        "overcast": (rng.uniform(0.88, 1), rng.uniform(0.2, 1)),
        "murk": (rng.uniform(0.5, 1), rng.uniform(0, 1)),
    }[regime]
    # Mostly near 0 or near 1: the light reaches under the clouds, or it does not.
    opening = rng.beta(0.55, 0.5)
    clarity = rng.beta(3, 1.8)
    return Weather(
        low_cover=float(low),
        high_cover=float(high),
        opening=float(opening * (0.15 if regime in ("overcast", "murk") else 1)),
        bank=float(rng.exponential(2.5) * (1.2 - opening)),
        clarity=float(clarity * (0.5 if regime == "murk" else 1)),
        vivid=float(rng.beta(1.6, 2.0)),
        fog=float(rng.beta(2, 2)) if regime == "murk" else 0.0,
        dust=float(rng.beta(1, 1.5)) * (1 if regime == "murk" else 0.5),
        softness=float(rng.uniform(0.2, 1)),
        cloud_scale=float(np.exp(rng.normal(0, 0.35))),
        wind=(float(rng.normal(0, 0.05)), float(rng.normal(0, 0.05))),
    )


def facing(camera: Camera, sun_azimuth: float) -> float:
    """How squarely a camera looks towards the sun: 1 straight at it, towards 0 away from it."""
    apart = abs((camera.view_azimuth - sun_azimuth + 180) % 360 - 180)
    return float(np.exp(-((apart / 75) ** 2)))


def cloud_light(sun_elevation: float) -> float:
    """How strongly a low sun colours the underside of clouds, 0 to 1."""
    width = 3.6 if sun_elevation > -1.0 else 2.6
    return float(np.exp(-(((sun_elevation + 1.0) / width) ** 2)))


def horizon_glow(sun_elevation: float) -> float:
    """How strongly the air over the horizon glows, 0 to 1."""
    width = 3.5 if sun_elevation > -2.5 else 3.0
    return float(np.exp(-(((sun_elevation + 2.5) / width) ** 2)))


def beauty(camera: Camera, weather: Weather, sun_elevation: float, sun_azimuth: float) -> float:
    """The latent beauty of a view, about 0 to 1: partly covered skies that are lit from below.

    Args:
        camera: Gives the direction and a little for a pleasing foreground.
        weather: Gives clouds, light and air.
        sun_elevation: Degrees.
        sun_azimuth: Degrees.
    """
    towards = facing(camera, sun_azimuth)
    broken = min(1.0, _partial(weather.low_cover) + 0.75 * _partial(weather.high_cover))
    clouds = broken * weather.opening * cloud_light(sun_elevation) * (0.3 + 0.7 * towards)
    shut = 0.85 * weather.low_cover**2
    glow = weather.vivid * horizon_glow(sun_elevation) * towards * (1 - shut)
    air = (0.35 + 0.65 * weather.clarity) * (1 - 0.9 * weather.fog)
    # The root spreads the dull majority out: people tell a dull sky from a duller one as easily
    # as a splendid one from a good one.
    return float(np.sqrt(air * (0.78 * clouds + 0.22 * glow) + 0.05 * camera.scenic))


def shows_no_event(weather: Weather, sun_elevation: float) -> bool:
    """Whether it is day or night, or the sky is hidden: a curator presses N, and gives no stars."""
    by_day_or_night = not NIGHT_BELOW <= sun_elevation <= DAY_ABOVE
    shut = weather.low_cover > 0.95 and weather.opening < 0.05
    return by_day_or_night or shut or weather.fog > 0.6


def _partial(cover: float) -> float:
    """1 for a half-covered sky, 0 for an empty or a full one."""
    return float(np.sin(np.pi * min(max(cover, 0.0), 1.0)) ** 0.8)
