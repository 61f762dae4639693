"""Where the sun stands: enough astronomy to draw an evening and to date it.

Angles are degrees, times are naive UTC. Good to about half a degree and a few minutes between
65° south and 65° north (declination and equation of time from the usual short series, e.g.
Spencer 1971; refraction is left out).
"""

import math
from datetime import UTC, datetime, timedelta
from typing import Literal

Phase = Literal["sunrise", "sunset"]


def solar_position(latitude: float, longitude: float, when: datetime) -> tuple[float, float]:
    """Elevation and azimuth (clockwise from north) of the sun, in degrees.

    Args:
        latitude: Degrees north.
        longitude: Degrees east.
        when: Naive, in UTC.
    """
    declination, minutes = _declination_and_equation_of_time(when)
    hours = when.hour + when.minute / 60 + when.second / 3600
    hour_angle = math.radians(15 * (hours - 12 + minutes / 60) + longitude)
    north, south_of_sun = math.radians(latitude), declination
    up = math.sin(north) * math.sin(south_of_sun) + math.cos(north) * math.cos(
        south_of_sun
    ) * math.cos(hour_angle)
    azimuth = math.atan2(
        -math.cos(south_of_sun) * math.sin(hour_angle),
        math.cos(north) * math.sin(south_of_sun)
        - math.sin(north) * math.cos(south_of_sun) * math.cos(hour_angle),
    )
    return math.degrees(math.asin(up)), math.degrees(azimuth) % 360


def sun_event(latitude: float, longitude: float, noon: datetime, phase: Phase) -> datetime:
    """The time, naive UTC, at which the sun's centre crosses the horizon around a local noon.

    Args:
        latitude: Degrees north, between -65 and 65, where the sun rises and sets every day.
        longitude: Degrees east.
        noon: Naive, in UTC; its day is the day that is meant, at the place itself.
        phase: The crossing before noon or the one after.
    """
    declination, minutes = _declination_and_equation_of_time(noon)
    cosine = -math.tan(math.radians(latitude)) * math.tan(declination)
    half_day = math.degrees(math.acos(max(-1.0, min(1.0, cosine)))) / 15
    signed = half_day if phase == "sunset" else -half_day
    start = datetime(noon.year, noon.month, noon.day)
    return start + timedelta(hours=12 - longitude / 15 - minutes / 60 + signed)


def _declination_and_equation_of_time(when: datetime) -> tuple[float, float]:
    """Declination in radians and the equation of time in minutes."""
    start = datetime(when.year, 1, 1, tzinfo=UTC)
    day = (when.replace(tzinfo=UTC) - start) / timedelta(days=1)
    angle = 2 * math.pi * day / 365.25
    declination = (
        0.006918
        - 0.399912 * math.cos(angle)
        + 0.070257 * math.sin(angle)
        - 0.006758 * math.cos(2 * angle)
        + 0.000907 * math.sin(2 * angle)
    )
    minutes = 229.18 * (
        0.000075
        + 0.001868 * math.cos(angle)
        - 0.032077 * math.sin(angle)
        - 0.014615 * math.cos(2 * angle)
        - 0.040849 * math.sin(2 * angle)
    )
    return declination, minutes
