"""Every spelling of one moment becomes the same text."""

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webcam_ml.labels._captured_at import utc_text

MOMENTS = st.datetimes(datetime(1900, 1, 2), datetime(9999, 12, 30))
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))


def reference(moment: datetime) -> str:
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{moment.microsecond:06d}".rstrip("0")
    return text + (f".{fraction}" if fraction else "") + "Z"


@given(st.lists(MOMENTS), st.sampled_from(" T"), st.sampled_from(["", "Z", "+00", "+00:00"]))
def test_naive_and_utc_times_keep_their_clock(
    moments: list[datetime], between: str, end: str
) -> None:
    texts = pl.Series([m.isoformat(between) + end for m in moments], dtype=pl.String)
    assert utc_text(texts).to_list() == [reference(m) for m in moments]


@given(st.lists(st.tuples(MOMENTS, OFFSETS), min_size=1))
def test_other_offsets_are_converted_to_utc(moments: list[tuple[datetime, timezone]]) -> None:
    aware = [moment.replace(tzinfo=zone) for moment, zone in moments]
    texts = pl.Series([m.isoformat(" ") for m in aware])
    assert utc_text(texts).to_list() == [reference(m.astimezone(UTC)) for m in aware]


@pytest.mark.parametrize(
    "text", ["", "infinity", "2026-02-12", "1770891300", "2026-13-12 10:15:00", "0044-03-15 BC"]
)
@pytest.mark.parametrize("beside", ["2026-02-12 10:15:00", "2026-02-12 10:15:00.5+01"])
def test_what_is_no_time_stamp_becomes_null(text: str, beside: str) -> None:
    assert utc_text(pl.Series([beside, text, None])).is_null().to_list() == [False, True, True]
