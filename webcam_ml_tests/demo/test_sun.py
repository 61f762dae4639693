from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webcam_ml.demo._sun import solar_position, sun_event


@pytest.mark.parametrize(
    ("latitude", "longitude", "noon", "phase", "almanac"),
    [
        (47.37, 8.54, datetime(2025, 6, 21, 12), "sunset", datetime(2025, 6, 21, 19, 26)),
        (51.51, -0.13, datetime(2025, 12, 21, 12), "sunrise", datetime(2025, 12, 21, 8, 4)),
        (40.71, -74.01, datetime(2025, 3, 20, 12), "sunset", datetime(2025, 3, 20, 23, 9)),
        (-33.87, 151.21, datetime(2025, 9, 23, 12), "sunset", datetime(2025, 9, 23, 7, 50)),
    ],
)
def test_sunrise_and_sunset_are_those_of_the_almanac(latitude, longitude, noon, phase, almanac):
    # Almanacs count refraction and the upper limb: the sun is seen some minutes longer.
    assert abs(sun_event(latitude, longitude, noon, phase) - almanac) < timedelta(minutes=10)


@given(
    st.floats(-64, 64),
    st.floats(-180, 180),
    st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1)),
    st.sampled_from(("sunrise", "sunset")),
)
def test_the_sun_is_on_the_horizon_when_it_crosses_it(latitude, longitude, day, phase):
    noon = day.replace(hour=12, minute=0, second=0, microsecond=0)
    elevation, azimuth = solar_position(
        latitude, longitude, sun_event(latitude, longitude, noon, phase)
    )
    assert abs(elevation) < 0.6
    assert (azimuth < 180) == (phase == "sunrise")
