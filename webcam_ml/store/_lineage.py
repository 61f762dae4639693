"""What an artifact was made from, by which run, and what its files must look like."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePath
from typing import Any, Self

CHECKSUM = "record_sha256"


@dataclass(frozen=True)
class FileRecord:
    """Digest and size (bytes) of one stored file."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Provenance:
    """Where an artifact comes from: facts that are recorded but do not enter its version."""

    run_id: str
    config: Mapping[str, Any] = field(default_factory=dict)
    code_version: Mapping[str, Any] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)
    database: Mapping[str, Any] | None = None
    measurements: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Lineage:
    """The content of lineage.json.

    `files`, `inputs` decide `data_version`; everything else is for the reader.
    """

    asset: str
    data_version: str
    files: Mapping[str, FileRecord]
    inputs: Mapping[str, str]
    ancestors: Mapping[str, str]
    run_id: str
    config: Mapping[str, Any]
    code_version: Mapping[str, Any]
    libraries: Mapping[str, str]
    created_at: str
    database: Mapping[str, Any] | None
    # Fields that came later have defaults: a store of an earlier version stays readable.
    measurements: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Serialise for lineage.json."""
        content = asdict(self)
        content[CHECKSUM] = _checksum(content)
        return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read the content of a lineage.json.

        Raises:
            ValueError: The bytes are not a lineage (damaged, truncated, another schema).
        """
        try:
            values = json.loads(data)
            # A store of an earlier version has none.
            noted = values.pop(CHECKSUM, None)
            if noted is not None and noted != _checksum(values):
                raise ValueError(f"its content does not have the {CHECKSUM} that it names")
            files = {
                name: FileRecord(sha256=str(record["sha256"]), size=int(record["size"]))
                for name, record in values.pop("files").items()
            }
            outside = [name for name in files if PurePath(name).name != name]
            if outside:
                raise ValueError(f"it names {outside[0]!r}, which is no file of its folder")
            return cls(files=files, **values)
        except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
            raise ValueError(f"not a lineage record: {error}") from error

    def has_consistent_version(self) -> bool:
        """Whether `data_version` is what files and inputs give: false after a change by hand."""
        return self.data_version == data_version(self.files, self.inputs)


def _checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 over all fields, also those that do not enter the version."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def data_version(files: Mapping[str, FileRecord], inputs: Mapping[str, str]) -> str:
    """SHA-256 over the digests of an artifact's files and the versions of its inputs."""
    content = {
        "files": {name: files[name].sha256 for name in sorted(files)},
        "inputs": {asset: inputs[asset] for asset in sorted(inputs)},
    }
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()
