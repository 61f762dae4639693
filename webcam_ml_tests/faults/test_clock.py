"""Clocks that are wrong, elsewhere or odd: versions are named by UTC time, and nothing hangs on it."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import pytest

from webcam_ml.dataset import Manifest, build_manifest
from webcam_ml.labels import LabelDatabase, LabelQuery, Labels, read_labels
from webcam_ml.store import ArtifactStore, Provenance
from webcam_ml_tests.faults.labelled import fill
from webcam_ml_tests.label_schema import Rows, plain_rows

ZONES = ("UTC", "Pacific/Kiritimati", "America/St_Johns", "Europe/Zurich")
ODD_TIMES = {
    "leap day": (datetime(2028, 2, 29, 23, 59, 59), "2028-02-29T23:59:59Z"),
    "future": (datetime(2099, 12, 31, 12), "2099-12-31T12:00:00Z"),
    "no such hour in Zurich": (datetime(2026, 3, 29, 2, 30), "2026-03-29T02:30:00Z"),
    "this hour twice in Zurich": (datetime(2026, 10, 25, 2, 30), "2026-10-25T02:30:00Z"),
    "before the epoch": (datetime(1969, 12, 31, 23, 59), "1969-12-31T23:59:00Z"),
}


class Value:
    """The smallest artifact."""

    def __init__(self, text: str) -> None:
        self.text = text

    def save(self, folder: Path) -> None:
        (folder / "value.txt").write_text(self.text)

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls((folder / "value.txt").read_text())


def test_after_the_clock_jumped_back_latest_is_what_was_stored_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtifactStore(tmp_path)
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(now.timestamp(), tz)

    monkeypatch.setattr("webcam_ml.store._store.datetime", Clock)
    # A day back, a year back, the same second again, forward.
    for step in (
        timedelta(0),
        -timedelta(days=1),
        -timedelta(days=365),
        timedelta(0),
        timedelta(1),
    ):
        now += step
        text = f"value {now} {step}"
        stored, is_new = store.write(
            "asset", Value(text), inputs={}, provenance=Provenance(run_id="run")
        )
        assert is_new
        assert stored.version.startswith(f"{now:%Y%m%dT%H%M%SZ}")
        assert store.latest("asset") == stored
        assert store.find("asset", stored.data_version).load(Value).text == text
    # A value of before is found again, and is the latest again, without a new name.
    first, is_new = store.write(
        "asset", Value("value 2026-06-01 12:00:00+00:00 0:00:00"), inputs={},
        provenance=Provenance(run_id="run"),
    )  # fmt: skip
    assert not is_new
    assert store.latest("asset") == first


@pytest.fixture
def odd(tmp_path: Path) -> tuple[LabelDatabase, dict[int, str]]:
    rows = plain_rows(n_webcams=30)
    snapshots = [dict(row) for row in rows.snapshots]
    expected = {}
    for row, (moment, text) in zip(snapshots, ODD_TIMES.values(), strict=False):
        row["captured_at"] = moment
        expected[int(str(row["id"]))] = text
    url = fill(
        f"sqlite:///{tmp_path}/labels.db", Rows(rows.webcams, tuple(snapshots), rows.ratings)
    )
    return LabelDatabase(url), expected


@pytest.fixture
def _own_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_own_zone")
def test_labels_and_manifests_are_the_same_bytes_in_every_time_zone(
    odd: tuple[LabelDatabase, dict[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, expected = odd
    written: set[tuple[bytes, ...]] = set()
    for zone in ZONES:
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        folder = tmp_path / zone
        folder.mkdir(parents=True)
        labels = read_labels(database, LabelQuery())
        times = dict(labels.frame.select("snapshot_id", "captured_at").iter_rows())
        assert {number: times[number] for number in expected} == expected
        labels.save(folder)
        build_manifest(Labels.load(folder)).save(folder)
        written.add(tuple(path.read_bytes() for path in sorted(folder.iterdir())))
        assert Manifest.load(folder).frame["captured_at"].to_list() == times_in_order(times)
    assert len(written) == 1


def times_in_order(times: dict[int, str]) -> list[str]:
    return [times[number] for number in sorted(times)]


@pytest.mark.usefixtures("_own_zone")
def test_versions_are_named_by_utc_wherever_the_machine_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for zone in ZONES:
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        stored, _ = ArtifactStore(tmp_path).write(
            "asset", Value(zone), inputs={}, provenance=Provenance(run_id="run")
        )
        named = datetime.strptime(stored.version[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        assert abs(datetime.now(UTC) - named) < timedelta(minutes=5)
        assert stored.lineage.created_at.endswith("+00:00")
