"""What the web page can hand over; that it does is proved in a browser."""

from pathlib import Path

import pytest
from dagster import DagsterInstance

from webcam_ml.errors import WebcamMLError
from webcam_ml.orchestration.downloads import offer
from webcam_ml.store import ArtifactStore, Provenance, StoredArtifact


class Page:
    def save(self, folder: Path) -> None:
        (folder / "gallery.html").write_bytes(b"<h1>hello</h1>")

    @classmethod
    def load(cls, folder: Path) -> "Page":
        return cls()


def store(folder: Path) -> StoredArtifact:
    stored, _ = ArtifactStore(folder).write("report", Page(), inputs={}, provenance=Provenance("r"))
    return stored


def test_a_copy_lies_where_the_web_server_looks_and_offering_again_changes_nothing(tmp_path):
    stored = store(tmp_path / "artifacts")
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        first = offer(stored, "gallery.html", instance=instance)
        assert offer(stored, "gallery.html", instance=instance) == first
        assert f"(/logs/report/{stored.version}/gallery/html)" in str(first.value)
        found = instance.compute_log_manager.get_captured_local_path(
            ["report", stored.version, "gallery"], "html"
        )
        assert Path(found).read_bytes() == b"<h1>hello</h1>"


def test_without_logs_on_disk_there_is_no_link(tmp_path):
    with DagsterInstance.ephemeral() as instance:
        if_any = offer(store(tmp_path), "gallery.html", instance=instance)
    assert "/logs" not in str(if_any.value)


def test_logs_that_cannot_be_written_are_named_with_what_to_do(tmp_path):
    stored = store(tmp_path / "artifacts")
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        logs = Path(instance.compute_log_manager.get_captured_local_path(["report"], "html")).parent
        logs.mkdir(parents=True, exist_ok=True)
        (logs / "report").write_text("a file where the folder should be")
        with pytest.raises(WebcamMLError) as refused:
            offer(stored, "gallery.html", instance=instance)
    message = str(refused.value)
    assert f"report is stored in {stored.folder}, but gallery.html could not be copied" in message
    assert f"{logs / 'report' / stored.version}" in message
    assert "materialize report again" in message
    stored.verify()
