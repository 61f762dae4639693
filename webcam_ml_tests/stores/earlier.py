"""Copies of the earlier stores, as they are or with other columns, and as whole as before."""

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from webcam_ml.dataset.images import ImageCache
from webcam_ml.labels import LabelDatabase
from webcam_ml.store import ArtifactStore, FileRecord, Lineage, StoredArtifact
from webcam_ml.store._lineage import data_version

V0_1 = Path(__file__).with_name("v0_1")
PLACE = b"@ARTIFACTS@"

# From the name of a file and its table, first line included, to another table.
Table = list[list[str]]
Edit = Callable[[str, Table], Table]


@dataclass(frozen=True)
class EarlierStore:
    """A project as an earlier version left it; its folder is the working folder."""

    folder: Path

    @cached_property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.folder / "artifacts")

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def images(self) -> ImageCache:
        return ImageCache(self.cache)

    @property
    def database(self) -> LabelDatabase:
        return LabelDatabase("sqlite:///labels.sqlite")

    @cached_property
    def expected(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "expected.json").read_text())
        return content

    def latest(self, asset: str) -> StoredArtifact:
        return self.store.latest(asset)

    def versions(self) -> list[StoredArtifact]:
        """All stored versions, each after what it was made from."""
        return sorted(
            (
                StoredArtifact(path.parent.parent.name, path.parent.name, path.parent, lineage)
                for path in self.store.root.glob("*/*/lineage.json")
                for lineage in [Lineage.from_json(path.read_bytes())]
            ),
            key=lambda stored: stored.lineage.created_at,
        )


def copy_of(original: Path, folder: Path, edit: Edit | None = None) -> EarlierStore:
    """Copy an earlier store; with `edit`, its tables are others and all that names them follows."""
    shutil.copytree(original, folder, symlinks=True)
    earlier = EarlierStore(folder)
    for path in folder.glob("artifacts/production/versions/*/scorer.env"):
        path.write_bytes(path.read_bytes().replace(PLACE, str(folder / "artifacts").encode()))
    if edit is not None:
        _rewrite(earlier, edit)
    return earlier


def _rewrite(earlier: EarlierStore, edit: Edit) -> None:
    """Edit the tables as if the earlier version had written them so: digests follow everywhere."""
    renamed: dict[bytes, bytes] = {}

    def follow(data: bytes) -> bytes:
        for old, new in renamed.items():
            data = data.replace(old, new)
        return data

    def note(old: str, new: str) -> None:
        if old != new:
            renamed[old.encode()] = new.encode()

    for stored in earlier.versions():
        files = {}
        for name, record in stored.lineage.files.items():
            path = stored.folder / name
            data = path.read_bytes()
            if name.endswith(".csv"):
                data = _edited(name, data, edit)
            elif name.endswith(".json"):
                data = follow(data)
            path.write_bytes(data)
            files[name] = FileRecord(hashlib.sha256(data).hexdigest(), len(data))
            note(record.sha256, files[name].sha256)
        lineage = Lineage.from_json(_without_checksum(follow(stored.lineage.to_json())))
        lineage = replace(lineage, files=files, data_version=data_version(files, lineage.inputs))
        path = stored.folder / "lineage.json"
        before = path.read_bytes()
        path.write_bytes(lineage.to_json())
        version = f"{stored.version[:-12]}{lineage.data_version[:12]}"
        stored.folder.rename(stored.folder.with_name(version))
        note(stored.data_version, lineage.data_version)
        note(stored.version, version)
        note(hashlib.sha256(before).hexdigest(), hashlib.sha256(lineage.to_json()).hexdigest())
    for path in earlier.store.root.glob("*/latest.json"):
        path.write_bytes(follow(path.read_bytes()))
    production = earlier.store.root / "production"
    for path in production.glob("versions/*/model.meta.json"):
        path.write_bytes(follow(path.read_bytes()))
    previous, lines = "0" * 64, []
    for line in follow((production / "ledger.jsonl").read_bytes()).splitlines():
        lines.append(json.dumps(json.loads(line) | {"previous": previous}).encode())
        previous = hashlib.sha256(lines[-1]).hexdigest()
    (production / "ledger.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    head = {"entries": len(lines), "sha256": previous}
    (production / "ledger.head").write_text(json.dumps(head) + "\n")
    path = earlier.folder / "expected.json"
    path.write_bytes(follow(path.read_bytes()))


def _edited(name: str, data: bytes, edit: Edit) -> bytes:
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows(edit(name, rows))
    return buffer.getvalue().encode()


def _without_checksum(data: bytes) -> bytes:
    content = json.loads(data)
    del content["record_sha256"]
    return json.dumps(content).encode()


def one_column_more(name: str, rows: Table) -> Table:
    """In each table a column, in the middle, that nobody knows."""
    return [
        [*row[:1], "country" if number == 0 else "CH", *row[1:]] for number, row in enumerate(rows)
    ]


# What may be null in each row, of all tables.
OPTIONAL = ("phase", "captured_at", "cached_rating", "webcam_title", "webcam_source", "width")


def one_column_less(name: str, rows: Table) -> Table:
    """No table has any of the columns that may be missing."""
    kept = [place for place, column in enumerate(rows[0]) if column not in OPTIONAL]
    return [[row[place] for place in kept] for row in rows]
