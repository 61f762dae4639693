"""The blocking check of pictures where addresses of other hosts are dead."""

import polars as pl

from webcam_ml.contracts import IMAGE_INDEX_TABLE
from webcam_ml.dataset.images import ImageIndex
from webcam_ml.orchestration.checks import images_readable


def index_of(*, snapshots: int, elsewhere: int) -> ImageIndex:
    """Of 100 snapshots and 20 pictures from elsewhere, so many failed."""
    ids = [*range(-20, 0), *range(1, 101)]
    failed = {*range(-elsewhere, 0), *range(1, 1 + snapshots)}
    rows = [
        {
            "snapshot_id": id,
            "source": f"/{id}.jpg",
            "status": "failed" if id in failed else "ok",
            "error": "not_found" if id in failed else None,
        }
        for id in ids
    ]
    return ImageIndex(
        pl.from_dicts(rows, schema=IMAGE_INDEX_TABLE.schema), max_failed_fraction=0.05
    )


def test_they_stop_no_run_and_are_told() -> None:
    result = images_readable(index_of(snapshots=5, elsewhere=20))
    assert result.passed
    assert result.description == (
        "5 of 100 pictures could not be read (5.0%; max_failed_fraction allows 5.0%). So it is with 20 "
        "from elsewhere, which stop no run."
    )


def test_nor_do_they_dilute_what_failed_of_webcams() -> None:
    result = images_readable(index_of(snapshots=6, elsewhere=0))
    assert not result.passed
    assert "6 of 100 pictures could not be read (6.0%" in str(result.description)
    assert "elsewhere" not in str(result.description)
