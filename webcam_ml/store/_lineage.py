"""What an artifact was made from, by which run, and what its files must look like."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath
from typing import Any, Self

from webcam_ml.contracts import canonical_json, require_known_version
from webcam_ml.store._bucket import is_plain_name

LINEAGE_FILE = "lineage.json"
SCHEMA_VERSION = 1
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
        return canonical_json(content)

    @classmethod
    def from_json(cls, data: bytes, *, source: PurePath | str = LINEAGE_FILE) -> Self:
        """Read the content of a lineage.json.

        Args:
            data: The bytes.
            source: Where they come from, for messages.

        Raises:
            ValueError: The bytes are not a lineage (damaged or truncated).
            DocumentError: A later version of webcam-ml wrote them.
        """
        try:
            values = json.loads(data)
            require_known_version(values, SCHEMA_VERSION, source=source)
            # An earlier version of webcam-ml wrote no checksum.
            noted = values.pop(CHECKSUM, None)
            if noted is not None and noted != _checksum(values):
                raise ValueError(f"its content does not have the {CHECKSUM} that it names")
            files = {
                name: FileRecord(sha256=str(record["sha256"]), size=int(record["size"]))
                for name, record in values.pop("files").items()
            }
            outside = [name for name in files if not is_plain_name(name)]
            if outside:
                raise ValueError(f"it names {outside[0]!r}, which is no file of its folder")
            if not isinstance(values["inputs"], dict):
                raise ValueError("its inputs are no object")
            return cls(files=files, **values)
        except (
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
            RecursionError,
            UnicodeDecodeError,
        ) as error:
            raise ValueError(f"not a lineage record: {error}") from error

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the lineage.json in a folder.

        Raises:
            OSError: It cannot be read.
            ValueError, DocumentError: As `from_json`.
        """
        path = folder / LINEAGE_FILE
        return cls.from_json(path.read_bytes(), source=path)

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
