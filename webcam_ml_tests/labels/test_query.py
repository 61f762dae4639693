"""A query that makes no sense is refused with the reason."""

import pytest

from webcam_ml.contracts import SettingsError
from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import LABEL_SOURCES, LabelQuery


def test_the_default_counts_everybodys_first_rating() -> None:
    assert LabelQuery() == LabelQuery(
        label_source="manual_only", min_rating_count=1, curator_sessions=()
    )


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"label_source": "manual"}, "must be manual_only"),
        ({"min_rating_count": 0}, "min_rating_count is 0"),
        ({"min_rating_count": -3}, "at least 1"),
        ({"min_rating_count": 1.5}, "whole number"),
        ({"min_rating_count": True}, "whole number"),
        ({"curator_sessions": ("anna", " ")}, "blank session id"),
        (
            {"label_source": "public_aggregate", "curator_sessions": ("anna",)},
            "together with label_source public_aggregate",
        ),
    ],
)
def test_nonsense_is_refused_with_the_reason(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as caught:
        LabelQuery(**settings)
    assert isinstance(caught.value, WebcamMLError)


def test_order_and_repetition_of_sessions_mean_nothing() -> None:
    assert LabelQuery(curator_sessions=("b", "a", "b")) == LabelQuery(curator_sessions=("a", "b"))


def test_every_source_is_found_by_its_name_and_says_what_it_means() -> None:
    for name, source in LABEL_SOURCES.items():
        assert LabelQuery(label_source=name).source is source
        assert source.meaning
        assert not source.meaning.endswith(".")
