"""The store as a notebook sees it: every file verified, every table with its lineage."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from webcam_ml.contracts import IMAGE_INDEX_TABLE
from webcam_ml.dataset.images import DamagedImageError, ImageCache
from webcam_ml.errors import WebcamMLError
from webcam_ml.notebook._contents import DOCUMENTS, TABLES
from webcam_ml.store import (
    CACHE_VARIABLE,
    STORE_VARIABLE,
    ArtifactMissingError,
    ArtifactStore,
    StoredArtifact,
    cache_from_env,
)

if TYPE_CHECKING:
    import pandas as pd

    from webcam_ml.dataset import ExportMeta
    from webcam_ml.disagreement import DisagreementDocument
    from webcam_ml.evaluation import EvalDocument
    from webcam_ml.export import ModelMeta
    from webcam_ml.judging import Comparison
    from webcam_ml.live import LiveModel

T = TypeVar("T")
Manifests = Literal["manifest_full", "manifest_train", "manifest_val", "manifest_test"]


class Store:
    """What the graph has stored; reads only.

    Args:
        store: Where the versions are.
        cache: Root of the caches, where the pictures are.
    """

    def __init__(self, store: ArtifactStore, *, cache: Path) -> None:
        self._store = store
        self._cache = cache

    @classmethod
    def open(
        cls,
        path: "str | os.PathLike[str] | None" = None,
        *,
        cache: "str | os.PathLike[str] | None" = None,
    ) -> Self:
        """Open a store; see `webcam_ml.open_store`.

        Raises:
            ArtifactMissingError: There is no such folder.
        """
        store = ArtifactStore.from_env() if path is None else ArtifactStore.at(os.fspath(path))
        if not store.exists():
            raise ArtifactMissingError(
                f"there is no store at {store.address}. Start the notebook in the project folder, give "
                f"the store's folder, open_store('…/artifacts'), or set {STORE_VARIABLE}. If nothing "
                "was stored yet: make demo, or dagster asset materialize -m webcam_ml.definitions "
                "--select '*'"
            )
        if cache is not None:
            return cls(store, cache=Path(cache).absolute())
        if path is None or store.remote is not None:
            return cls(store, cache=cache_from_env())
        return cls(store, cache=store.root.parent / "cache")

    def __repr__(self) -> str:
        return f"Store({self._store.address!r}, cache={str(self._cache)!r})"

    @property
    def tables(self) -> dict[str, list[str]]:
        """Asset → the names of its tables, the first of which `table` gives if none is named."""
        return {asset: list(tables) for asset, tables in TABLES.items()}

    @property
    def documents(self) -> dict[str, list[str]]:
        """Asset → the names of its documents, the first of which `document` gives if none is named."""
        return {asset: list(documents) for asset, documents in DOCUMENTS.items()}

    def versions(self, asset: str) -> list[str]:
        """List the versions of an asset, the newest first.

        Raises:
            WebcamMLError: There is no asset of that name.
        """
        _of({**TABLES, **DOCUMENTS}, asset, what="asset")
        return self._store.versions(asset)

    def table(
        self, asset: str, name: str | None = None, *, version: str | None = None
    ) -> "pd.DataFrame":
        """Read a stored table, verified.

        Args:
            asset: Whose table, e.g. ``"manifest_full"``.
            name: Which of its tables (see `tables`); by default the first.
            version: Name of a version (see `versions`); by default the latest.

        Returns:
            The rows as they were stored, with captured_at as times in UTC. `attrs` has asset,
            version, table, and lineage: the content of lineage.json.

        Raises:
            WebcamMLError: No asset, table or version has that name, the asset was never stored, or
                a file is not what was stored.
        """
        from webcam_ml.notebook._frames import to_pandas

        tables = _of(TABLES, asset, what="asset with tables")
        name = name or next(iter(tables))
        table = _of(tables, name, what=f"table of {asset}")
        stored = self._verified(asset, version)
        file = f"{name}.csv"
        if file not in stored.lineage.files:
            raise ArtifactMissingError(
                f"{asset} {stored.version} has no {file}: an earlier version of webcam-ml stored it. "
                f"Materialize {asset} again to have one"
            )
        frame = to_pandas(table.read(stored.folder / file))
        frame.attrs = {
            "asset": asset,
            "version": stored.version,
            "table": name,
            "lineage": asdict(stored.lineage),
        }
        return frame

    @overload
    def document(
        self, asset: Literal["eval_report"], *, version: str | None = None
    ) -> "EvalDocument": ...

    @overload
    def document(
        self, asset: Literal["disagreement_report"], *, version: str | None = None
    ) -> "DisagreementDocument": ...

    @overload
    def document(
        self, asset: Literal["champion_comparison"], *, version: str | None = None
    ) -> "Comparison": ...

    @overload
    def document(
        self, asset: Literal["onnx_model"], *, version: str | None = None
    ) -> "ModelMeta": ...

    @overload
    def document(
        self, asset: Literal["production_model"], *, version: str | None = None
    ) -> "LiveModel": ...

    @overload
    def document(self, asset: Manifests, *, version: str | None = None) -> "ExportMeta": ...

    @overload
    def document(
        self, asset: str, name: str | None = None, *, version: str | None = None
    ) -> Any: ...

    def document(self, asset: str, name: str | None = None, *, version: str | None = None) -> Any:
        """Read a stored document, verified.

        Args:
            asset: Whose document, e.g. ``"eval_report"``.
            name: Which of its documents (see `documents`); by default the first.
            version: Name of a version (see `versions`); by default the latest.

        Returns:
            The value that the graph itself works with, e.g. `EvalDocument`; a dict where that is no
            more than counts and settings (labels_raw, image_index, checkpoint).

        Raises:
            WebcamMLError: As `table`.
        """
        documents = _of(DOCUMENTS, asset, what="asset with documents")
        read = _of(documents, name or next(iter(documents)), what=f"document of {asset}")
        return read(self._verified(asset, version).folder)

    def picture(self, snapshot_id: int, *, version: str | None = None) -> NDArray[np.uint8]:
        """Decode the picture of a snapshot, from the cache.

        Args:
            snapshot_id: Which snapshot.
            version: Name of a version of image_index; by default the latest.

        Returns:
            uint8 RGB [height, width, 3], upright.

        Raises:
            WebcamMLError: The snapshot is not in image_index, its picture could not be fetched, or
                the cache does not have it.
        """
        stored = self._verified("image_index", version)
        index = IMAGE_INDEX_TABLE.read(stored.folder / "image_index.csv")
        found = index.filter(index["snapshot_id"] == snapshot_id)
        if found.is_empty():
            ids = index["snapshot_id"].to_list()
            raise WebcamMLError(
                f"image_index {stored.version} has no snapshot {snapshot_id}: it has {len(ids):,} "
                f"from {min(ids)} to {max(ids)}"
            )
        row = found.row(0, named=True)
        if row["sha256"] is None:
            raise WebcamMLError(
                f"snapshot {snapshot_id} has no picture: {row['error']} when image_index "
                f"{stored.version} was made"
            )
        try:
            return ImageCache(self._cache, remote=self._store.remote).decode(row["sha256"])
        except DamagedImageError as error:
            raise WebcamMLError(
                f"{error}. If the graph has its caches elsewhere, name them: open_store(cache=…) or "
                f"{CACHE_VARIABLE}"
            ) from error

    def _verified(self, asset: str, version: str | None) -> StoredArtifact:
        stored = self._store.latest(asset) if version is None else self._store.named(asset, version)
        stored.verify()
        return stored


def _of(choices: Mapping[str, T], name: str, *, what: str) -> T:
    if name in choices:
        return choices[name]
    near = get_close_matches(name, choices, n=1)
    meant = f"; did you mean {near[0]}?" if near else "."
    raise WebcamMLError(f"there is no {what} {name}{meant} There are {', '.join(choices)}")
