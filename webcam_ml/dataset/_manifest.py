"""Labels with target and split: the tables that everything downstream is made from."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import polars as pl

from webcam_ml.contracts import (
    Target,
    TargetType,
    for_spreadsheets,
    from_spreadsheets,
    target_of,
)
from webcam_ml.dataset._splits import SPLIT_NAMES, SplitConfig, SplitName
from webcam_ml.dataset._targets import TargetConfig
from webcam_ml.dataset.duplicates import DuplicateWebcams
from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import Labels

MANIFEST_SCHEMA: dict[str, type[pl.DataType]] = {
    "snapshot_id": pl.Int64,
    "webcam_id": pl.Int64,
    "label_source": pl.String,
    "label_value": pl.Float64,
    "target_label": pl.Float64,
    "split": pl.String,
    "image_path_or_url": pl.String,
    "phase": pl.String,
    "captured_at": pl.String,
    "rating_count": pl.Int64,
}
DETAILS_SCHEMA: dict[str, type[pl.DataType]] = {
    "snapshot_id": pl.Int64,
    "webcam_title": pl.String,
    "webcam_source": pl.String,
    **{f"stars_{star}": pl.Int64 for star in range(1, 6)},
}
META_FILE = "export_meta.json"
DETAILS_FILE = "snapshot_details.csv"


class UnusableTargetsError(WebcamMLError):
    """No model could be trained or judged on these targets."""


@dataclass(frozen=True)
class ExportMeta:
    """The content of export_meta.json: how a manifest was made and what is in it.

    `binary_threshold` is None for regression, where it decides nothing. `duplicate_webcams` is None
    unless they were looked for, and then left out of the file.
    """

    label_source: str
    curator_sessions: tuple[str, ...]
    target_type: TargetType
    binary_threshold: float | None
    min_rating_count: int
    split_config: SplitConfig
    counts: Mapping[str, int]
    webcams: Mapping[str, int]
    target_distribution: Mapping[str, Mapping[str, float]]
    drop_reasons: Mapping[str, int]
    labels_sha256: str
    duplicate_webcams: DuplicateWebcams | None = None

    @property
    def asked(self) -> Target:
        """What the model is asked."""
        return target_of(self.target_type)

    def to_json(self) -> str:
        """Serialise for export_meta.json."""
        content: dict[str, Any] = {
            "label_source": self.label_source,
            "curator_sessions": list(self.curator_sessions),
            "target_type": self.target_type,
            "binary_threshold": self.binary_threshold,
            "min_rating_count": self.min_rating_count,
            "split_config": {
                "seed": self.split_config.seed,
                "train_pct": self.split_config.train_pct,
                "val_pct": self.split_config.val_pct,
                "test_pct": self.split_config.test_pct,
            },
            "counts": dict(self.counts),
            "webcams": dict(self.webcams),
            "target_distribution": {k: dict(v) for k, v in self.target_distribution.items()},
            "drop_reasons": dict(self.drop_reasons),
            "labels_sha256": self.labels_sha256,
        }
        if self.duplicate_webcams is not None:
            content["duplicate_webcams"] = self.duplicate_webcams.to_dict()
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the content of an export_meta.json."""
        values: dict[str, Any] = json.loads(text)
        values["split_config"] = SplitConfig(**values["split_config"])
        values["curator_sessions"] = tuple(values["curator_sessions"])
        if "duplicate_webcams" in values:
            values["duplicate_webcams"] = DuplicateWebcams.from_dict(values["duplicate_webcams"])
        return cls(**values)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the export_meta.json of a stored manifest."""
        return cls.from_json((folder / META_FILE).read_text())

    def cameras(self, webcam_id: pl.Series) -> pl.Series:
        """Name the camera behind each webcam: the smallest id of those that are one camera."""
        if self.duplicate_webcams is None:
            return webcam_id
        return webcam_id.replace(self.duplicate_webcams.camera_of)


@dataclass(frozen=True)
class Manifest:
    """Rows of one split or of all, ordered by snapshot_id, with how they were made.

    Attributes:
        frame: The contract's ten columns; `target_label` is 0 or 1 (binary) or 1–5 (regression).
        details: What reports want beside them: webcam title and source, stars given, by snapshot_id.
        meta: How the whole manifest was made; the same for all splits of one manifest.
        part: `full`, or the name of the split.
    """

    frame: pl.DataFrame
    details: pl.DataFrame
    meta: ExportMeta
    part: str = "full"

    @property
    def file_name(self) -> str:
        """Name of the CSV file in the contract."""
        return f"manifest_{self.part}.csv"

    def split(self, name: SplitName) -> Self:
        """Take the rows of one split."""
        frame = self.frame.filter(pl.col("split") == name)
        details = self.details.join(frame.select("snapshot_id"), on="snapshot_id", how="semi")
        return type(self)(frame=frame, details=details, meta=self.meta, part=name)

    def webcams_in_two_splits(self) -> pl.DataFrame:
        """List webcams whose rows are in more than one split: `webcam_id` and `splits`.

        Webcams that the manifest takes for one camera count as one.
        """
        return (
            self.frame.group_by(self.meta.cameras(self.frame["webcam_id"]))
            .agg(pl.col("split").unique().sort().str.join(", ").alias("splits"))
            .filter(pl.col("splits").str.contains(","))
            .sort("webcam_id")
        )

    def to_csv(self) -> bytes:
        """Serialise the contract's columns; equal labels give equal bytes."""
        frame = self.frame
        frame = frame.with_columns(self.meta.asked.stored_label(pl.col("target_label")))
        buffer = io.BytesIO()
        frame.with_columns(for_spreadsheets()).write_csv(buffer, line_terminator="\n")
        return buffer.getvalue()

    def save(self, folder: Path) -> None:
        """Write the manifest, its details and export_meta.json."""
        (folder / self.file_name).write_bytes(self.to_csv())
        details = self.details.with_columns(for_spreadsheets())
        details.write_csv(folder / DETAILS_FILE, line_terminator="\n")
        (folder / META_FILE).write_text(self.meta.to_json())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a manifest back from its folder."""
        (path,) = folder.glob("manifest_*.csv")
        return cls(
            frame=pl.read_csv(path, schema=MANIFEST_SCHEMA).with_columns(from_spreadsheets()),
            details=pl.read_csv(folder / DETAILS_FILE, schema=DETAILS_SCHEMA).with_columns(
                from_spreadsheets()
            ),
            meta=ExportMeta.load(folder),
            part=path.stem.removeprefix("manifest_"),
        )


def build_manifest(
    labels: Labels,
    *,
    target: TargetConfig | None = None,
    split: SplitConfig | None = None,
    duplicate_webcams: DuplicateWebcams | None = None,
) -> Manifest:
    """Give every labelled snapshot its target and its split.

    Args:
        labels: Labelled snapshots, ratings on the 1–5 scale.
        target: What the model is asked; binary at 4 stars by default.
        split: How webcams are divided; 70/15/15 by default.
        duplicate_webcams: Webcams that are one camera and go into one split; none by default.

    Raises:
        UnusableTargetsError: Ratings off the scale, an empty split, or a split with one class.
    """
    target = target or TargetConfig()
    split = split or SplitConfig()
    _require_ratings_on_scale(labels)
    frame = (
        labels.frame.join(
            split.assign(
                labels.frame["webcam_id"].unique().to_list(),
                groups=duplicate_webcams.groups if duplicate_webcams else (),
            ),
            on="webcam_id",
            how="left",
        )
        .with_columns(target.label_of(pl.col("label_value")).cast(pl.Float64).alias("target_label"))
        .sort("snapshot_id")
    )
    meta = ExportMeta(
        label_source=labels.query.label_source,
        curator_sessions=tuple(sorted(labels.query.curator_sessions)),
        target_type=target.target_type,
        binary_threshold=target.positive_from,
        min_rating_count=labels.query.min_rating_count,
        split_config=split,
        counts={"total": frame.height, **_per_split(frame, pl.len())},
        webcams={
            "total": frame["webcam_id"].n_unique(),
            **_per_split(frame, pl.col("webcam_id").n_unique()),
        },
        target_distribution=_target_distribution(frame, target),
        drop_reasons=dict(labels.drops),
        labels_sha256=_sha256(labels.frame),
        duplicate_webcams=duplicate_webcams,
    )
    manifest = Manifest(
        frame=frame.select(*MANIFEST_SCHEMA), details=frame.select(*DETAILS_SCHEMA), meta=meta
    )
    require_usable_targets(manifest)
    return manifest


def _sha256(frame: pl.DataFrame) -> str:
    # Bytes from the start: a million labels as text, and again as bytes, are 300 MB.
    buffer = io.BytesIO()
    frame.write_csv(buffer)
    return hashlib.sha256(buffer.getbuffer()).hexdigest()


def require_usable_targets(manifest: Manifest) -> None:
    """Refuse a manifest on which no model could be trained, tuned or judged.

    Raises:
        UnusableTargetsError: A split is empty, or a binary split has one class only.
    """
    meta = manifest.meta
    for name in SPLIT_NAMES:
        rows = manifest.frame.filter(pl.col("split") == name)
        if rows.is_empty():
            raise UnusableTargetsError(
                f"the {name} split is empty: {meta.webcams['total']} webcams with labels, and none "
                f"falls into its {getattr(meta.split_config, f'{name}_pct')} percent. Label more "
                f"webcams, or give it more with {name}_pct (that changes the frozen splits)"
            )
        if not meta.asked.has_classes:
            continue
        positives = int(rows["target_label"].sum())
        if positives in (0, rows.height):
            values = manifest.frame["label_value"].to_list()
            raise UnusableTargetsError(
                f"binary_threshold {meta.binary_threshold:g} leaves {positives:,} of {rows.height:,} "
                f"{name} rows positive, so that split has one class. Labels run from "
                f"{min(values):g} to {max(values):g} stars: set binary_threshold between them, or "
                "rate more snapshots of other webcams"
            )


def _require_ratings_on_scale(labels: Labels) -> None:
    off = labels.off_scale()
    if not off.is_empty():
        row = off.row(0, named=True)
        raise UnusableTargetsError(
            f"{off.height:,} of {labels.frame.height:,} labels are off the 1–5 scale, the first is "
            f"snapshot {row['snapshot_id']} with {row['label_value']}. Nothing was made from them. "
            "Mend calculated_rating in the database, or read the rating rows themselves with "
            "label_source: public_aggregate"
        )


def _per_split(frame: pl.DataFrame, count: pl.Expr) -> dict[str, int]:
    counts = dict(frame.group_by("split").agg(count.alias("n")).iter_rows())
    return {name: int(counts.get(name, 0)) for name in SPLIT_NAMES}


def _target_distribution(frame: pl.DataFrame, target: TargetConfig) -> dict[str, dict[str, float]]:
    return {
        name: target.asked.distribution(frame.filter(pl.col("split") == name)["target_label"])
        for name in SPLIT_NAMES
    }
