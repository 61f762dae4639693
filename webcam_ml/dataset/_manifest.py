"""Labels with target and split: the tables that everything downstream is made from."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import polars as pl

from webcam_ml.contracts import (
    DETAILS_TABLE,
    EXTERNAL_DETAILS_TABLE,
    JUDGED_MANIFEST_TABLE,
    JUDGEMENTS_TABLE,
    MANIFEST_TABLE,
    OF_A_WEBCAM,
    PEOPLE,
    PEOPLE_ON_WEBCAMS,
    Document,
    Target,
    TargetType,
    target_of,
)
from webcam_ml.dataset._splits import SPLIT_NAMES, SplitConfig, SplitName
from webcam_ml.dataset._targets import TargetConfig
from webcam_ml.dataset.duplicates import DuplicateWebcams
from webcam_ml.dataset.judges import HeardJudges, hear_judges
from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import LABEL_SOURCES, SAID_FILE, LabelQuery, Labels

META = Document("export_meta.json", made_by="manifest_full")
DETAILS_FILE = "snapshot_details.csv"
# What is known of a picture that is of no webcam.
OF_PICTURES = EXTERNAL_DETAILS_TABLE.names[len(DETAILS_TABLE.names) :]


class UnusableTargetsError(WebcamMLError):
    """No model could be trained or judged on these targets."""


@dataclass(frozen=True)
class ExportMeta:
    """The content of export_meta.json: how a manifest was made and what is in it.

    `binary_threshold` is None for regression, where it decides nothing. `duplicate_webcams` is None
    unless they were looked for, `heard` unless the label source hears judges, and then left out of
    the file. `counts` are of all rows, `webcams` of those that are a webcam's, and `target_distribution`
    of those of people.
    """

    query: LabelQuery
    target_type: TargetType
    binary_threshold: float | None
    split_config: SplitConfig
    counts: Mapping[str, int]
    webcams: Mapping[str, int]
    target_distribution: Mapping[str, Mapping[str, float]]
    drop_reasons: Mapping[str, int]
    labels_sha256: str
    duplicate_webcams: DuplicateWebcams | None = None
    heard: HeardJudges | None = None

    @property
    def asked(self) -> Target:
        """What the model is asked."""
        return target_of(self.target_type)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for export_meta.json."""
        query = self.query.to_dict()
        # Under `judges` stands what became of those that were asked for.
        query |= {"judges_asked": query.pop("judges")} if "judges" in query else {}
        # The order of the keys is part of the bytes, which decide the version.
        content: dict[str, Any] = {
            "label_source": query.pop("label_source"),
            "curator_sessions": query.pop("curator_sessions"),
            "target_type": self.target_type,
            "binary_threshold": self.binary_threshold,
            **query,
            "split_config": self.split_config.model_dump(),
            "counts": dict(self.counts),
            "webcams": dict(self.webcams),
            "target_distribution": {k: dict(v) for k, v in self.target_distribution.items()},
            "drop_reasons": dict(self.drop_reasons),
            "labels_sha256": self.labels_sha256,
        }
        if self.duplicate_webcams is not None:
            content["duplicate_webcams"] = self.duplicate_webcams.to_dict()
        if self.heard is not None:
            content |= self.heard.to_dict()
        return content

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave, in this version or an earlier one."""
        duplicates = values.get("duplicate_webcams")
        return cls(
            query=LabelQuery.from_dict({**values, "judges": values.get("judges_asked", [])}),
            target_type=values["target_type"],
            binary_threshold=values["binary_threshold"],
            split_config=SplitConfig(**values["split_config"]),
            counts=values["counts"],
            webcams=values["webcams"],
            target_distribution=values["target_distribution"],
            drop_reasons=values["drop_reasons"],
            labels_sha256=values["labels_sha256"],
            duplicate_webcams=None
            if duplicates is None
            else DuplicateWebcams.from_dict(duplicates),
            heard=HeardJudges.from_dict(values) if "judges" in values else None,
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the export_meta.json of a stored manifest.

        Raises:
            DocumentError: It cannot be read.
        """
        return META.read_as(folder, cls.from_dict)

    def train_webcams(self, webcam_id: pl.Series) -> pl.Series:
        """Name those of some webcams that are of the training split, also where no row is of them."""
        groups = () if self.duplicate_webcams is None else self.duplicate_webcams.groups
        splits = self.split_config.assign(webcam_id.drop_nulls().unique().to_list(), groups=groups)
        return splits.filter(pl.col("split") == "train")["webcam_id"]

    def cameras(self, webcam_id: pl.Series) -> pl.Series:
        """Name the camera behind each webcam: the smallest id of those that are one camera."""
        if self.duplicate_webcams is None:
            return webcam_id
        return webcam_id.replace(self.duplicate_webcams.camera_of)

    def splits_of(self, webcam_id: pl.Series) -> pl.DataFrame:
        """Name the split of webcams, those without labels too: `webcam_id` (distinct) and `split`."""
        groups = () if self.duplicate_webcams is None else self.duplicate_webcams.groups
        return self.split_config.assign(webcam_id.unique().to_list(), groups=groups)


@dataclass(frozen=True)
class Manifest:
    """Rows of one split or of all, ordered by snapshot_id, with how they were made.

    Attributes:
        frame: The contract's ten columns; `target_label` is 0 or 1 (binary) or 1–5 (regression).
            And `label_weight` and `label_origin`: 1 and `people`, or those of a judge, whose target is
            a share (binary) or stars, which may lie beyond 1 and 5; stored only where the label source
            hears judges. A picture from elsewhere has keys below zero, see `EXTERNAL_IMAGES_TABLE`, and
            is a training row.
        details: What reports want beside them: webcam title and source, stars given, by snapshot_id;
            source, owner and licence of pictures from elsewhere, stored only where there may be some.
        meta: How the whole manifest was made; the same for all splits of one manifest.
        part: `full`, or the name of the split.
        said: What people and judges said of the rows that people labelled, for reports; columns of
            `JUDGEMENTS_TABLE`. None where the label source hears no judges.
    """

    frame: pl.DataFrame
    details: pl.DataFrame
    meta: ExportMeta
    part: str = "full"
    said: pl.DataFrame | None = None

    @property
    def file_name(self) -> str:
        """Name of the CSV file in the contract."""
        return f"manifest_{self.part}.csv"

    @property
    def of_webcams(self) -> Self:
        """The rows that are not of pictures from elsewhere."""
        return replace(self, frame=self.frame.filter(OF_A_WEBCAM))

    @property
    def of_people(self) -> Self:
        """The rows of webcams that people labelled."""
        return replace(self, frame=self.frame.filter(PEOPLE_ON_WEBCAMS))

    def split(self, name: SplitName) -> Self:
        """Take the rows of one split."""
        frame = self.frame.filter(pl.col("split") == name)
        details = self.details.join(frame, on="snapshot_id", how="semi")
        said = None if self.said is None else self.said.join(frame, on="snapshot_id", how="semi")
        return type(self)(frame=frame, details=details, meta=self.meta, part=name, said=said)

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
        if (frame["label_origin"] == PEOPLE).all():
            # A judge's target is a share, which has no whole number.
            frame = frame.with_columns(self.meta.asked.stored_label(pl.col("target_label")))
        buffer = io.BytesIO()
        table = MANIFEST_TABLE if self.meta.heard is None else JUDGED_MANIFEST_TABLE
        table.write(frame, buffer)
        return buffer.getvalue()

    def save(self, folder: Path) -> None:
        """Write the manifest, its details, what judges said of it, and export_meta.json."""
        (folder / self.file_name).write_bytes(self.to_csv())
        table = EXTERNAL_DETAILS_TABLE if self.meta.query.external_images else DETAILS_TABLE
        table.write(self.details, folder / DETAILS_FILE)
        if self.said is not None:
            JUDGEMENTS_TABLE.write(self.said, folder / SAID_FILE)
        META.write(folder, self.meta.to_dict())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, in this version or an earlier one.

        Raises:
            TableError: A column that is needed is missing or of another type.
            DocumentError: export_meta.json cannot be read.
        """
        (path,) = folder.glob("manifest_*.csv")
        return cls.read(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read one manifest_….csv and what lies beside it.

        Raises:
            TableError: A column that is needed is missing or of another type.
            DocumentError: export_meta.json cannot be read.
        """
        folder, meta = path.parent, ExportMeta.load(path.parent)
        return cls(
            frame=JUDGED_MANIFEST_TABLE.read(path),
            details=EXTERNAL_DETAILS_TABLE.read(folder / DETAILS_FILE),
            meta=meta,
            part=path.stem.removeprefix("manifest_"),
            said=None if meta.heard is None else JUDGEMENTS_TABLE.read(folder / SAID_FILE),
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
        UnusableTargetsError: Ratings off the scale, an empty split, or a split with one class; a
            validation or test row that is not of a webcam or not rated by people.
    """
    target = target or TargetConfig()
    split = split or SplitConfig()
    _require_ratings_on_scale(labels)
    webcams = labels.frame["webcam_id"]
    if labels.judged is not None:
        webcams = pl.concat([webcams, labels.judged.snapshots["webcam_id"]])
    splits = split.assign(
        webcams.drop_nulls().unique().to_list(),
        groups=duplicate_webcams.groups if duplicate_webcams else (),
    )
    people = (
        labels.frame.join(splits, on="webcam_id", how="left")
        .with_columns(
            target.label_of(pl.col("label_value")).cast(pl.Float64).alias("target_label"),
            label_weight=pl.lit(1.0),
            label_origin=pl.lit(PEOPLE),
            **dict.fromkeys(OF_PICTURES, pl.lit(None, dtype=pl.String)),
        )
        .sort("snapshot_id")
    )
    frame, heard, said = people, None, None
    if labels.judged is not None:
        camera_of = duplicate_webcams.camera_of if duplicate_webcams else {}
        heard, rows = hear_judges(
            labels.judged,
            people,
            target=target,
            splits=splits,
            camera_of=camera_of,
            external_weight=labels.query.external_weight,
        )
        frame = pl.concat([people, rows]).sort("snapshot_id")
        said = labels.judged.said.join(people, on="snapshot_id", how="semi")
    of_webcams = frame.filter(OF_A_WEBCAM)
    # A row without a webcam has no split.
    require_people_on_webcams(
        frame.filter(pl.col("split").ne_missing("train")), "validation and test"
    )
    meta = ExportMeta(
        query=labels.query,
        target_type=target.target_type,
        binary_threshold=target.positive_from,
        split_config=split,
        counts={"total": frame.height, **_per_split(frame, pl.len())},
        webcams={
            "total": of_webcams["webcam_id"].n_unique(),
            **_per_split(of_webcams, pl.col("webcam_id").n_unique()),
        },
        target_distribution=_target_distribution(people, target),
        drop_reasons=dict(labels.drops),
        labels_sha256=_sha256(labels.frame),
        duplicate_webcams=duplicate_webcams,
        heard=heard,
    )
    manifest = Manifest(
        frame=frame.select(JUDGED_MANIFEST_TABLE.names),
        details=frame.select(EXTERNAL_DETAILS_TABLE.names),
        meta=meta,
        said=said,
    )
    require_usable_targets(manifest)
    return manifest


def _sha256(frame: pl.DataFrame) -> str:
    # Written as bytes at once: a million labels as text, and then as bytes too, would be 300 MB.
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
        rows = manifest.of_people.frame.filter(pl.col("split") == name)
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
            raise UnusableTargetsError(
                f"binary_threshold {meta.binary_threshold:g} leaves {positives:,} of {rows.height:,} "
                f"{name} rows positive, so that split has one class. {_other_thresholds(rows)}, or "
                "rate more snapshots of other webcams"
            )


def _other_thresholds(rows: pl.DataFrame) -> str:
    """Say which thresholds would leave a split both classes, and how many rows positive."""
    values = rows["label_value"]
    left = {star: int((values >= star).sum()) for star in range(2, 6)}
    useful = [f"{star} would leave {n:,}" for star, n in left.items() if 0 < n < rows.height]
    if useful:
        return f"Of the same rows {', '.join(useful)}: set binary_threshold accordingly"
    low, high = min(values.to_list()), max(values.to_list())
    if low == high:
        return (
            f"All of them are labelled {low:g} stars, so no threshold divides them: give the split "
            "more webcams"
        )
    return f"Their labels run from {low:g} to {high:g} stars: set binary_threshold between them"


def require_people_on_webcams(frame: pl.DataFrame, part: str) -> None:
    """Refuse to judge a model on rows that are no webcam's, or that nobody rated.

    A model that was good on photographs and useless on webcams once had an F1 of .84, because
    nearly all of its test positives were photographs.

    Raises:
        UnusableTargetsError: There is such a row.
    """
    strange = frame.filter(
        ~OF_A_WEBCAM.fill_null(False)
        | ~pl.col("label_source").is_in(list(LABEL_SOURCES))
        | pl.col("label_origin").ne_missing(PEOPLE)
    )
    if strange.height:
        row = strange.row(0, named=True)
        raise UnusableTargetsError(
            f"{strange.height} of {frame.height} {part} rows are not of a webcam or not "
            f"rated by people, the first is snapshot {row['snapshot_id']} (label source "
            f"{row['label_source']}, label of {row['label_origin']}). Models are judged on webcams and "
            "people's ratings alone: materialize labels_raw and manifest_full again"
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
