"""Rows of pictures from elsewhere: which label each has, and what is told of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import polars as pl

from webcam_ml.contracts import EXTERNAL_IMAGES_TABLE, PEOPLE, STAR_COLUMNS, STARS
from webcam_ml.dataset._targets import TargetConfig
from webcam_ml.labels import Judgements

UNKNOWN = "unknown"


@dataclass(frozen=True)
class ExternalRows:
    """What became of pictures from elsewhere; all of them are for training.

    Attributes:
        rows: How many became rows.
        gold: Those of them that the curator labelled.
        owners: Whose they are; a picture without an owner counts as one of its own.
        no_judge_speaks: How many have no row, because only judges know them that do not speak.
        sources: Rows by source.
        licences: Rows by licence.
    """

    rows: int
    gold: int
    owners: int
    no_judge_speaks: int
    sources: Mapping[str, int]
    licences: Mapping[str, int]

    @classmethod
    def of(cls, rows: pl.DataFrame, *, known: int) -> Self:
        """Count.

        Args:
            rows: Of pictures from elsewhere, with `label_origin` and the columns of
                `EXTERNAL_IMAGES_TABLE`.
            known: Of how many pictures somebody said something.
        """
        return cls(
            rows=rows.height,
            gold=rows.filter(pl.col("label_origin") == PEOPLE).height,
            owners=rows["webcam_id"].n_unique(),
            no_judge_speaks=known - rows.height,
            sources=_counted(rows["picture_source"]),
            licences=_counted(rows["picture_licence"]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for export_meta.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        return cls(**values)


def external_pictures(
    judged: Judgements, *, target: TargetConfig
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Divide pictures from elsewhere: those that the curator labelled, as rows, and the others.

    Args:
        judged: What judges and curator said.
        target: What the model is asked.
    """
    pictures = judged.external
    if pictures is None:
        pictures = pl.DataFrame(schema=EXTERNAL_IMAGES_TABLE.schema)
    gold = judged.gold_of_external()
    labelled = pictures.join(gold, on="snapshot_id", how="inner").with_columns(
        target.label_of(pl.col("label_value")).cast(pl.Float64).alias("target_label"),
        *(
            (pl.col("label_value") == star).cast(pl.Int64).alias(name)
            for star, name in zip(STARS, STAR_COLUMNS, strict=True)
        ),
        label_weight=pl.lit(1.0),
        label_origin=pl.lit(PEOPLE),
        rating_count=pl.lit(1, dtype=pl.Int64),
    )
    return labelled, pictures.join(gold, on="snapshot_id", how="anti")


def _counted(names: pl.Series) -> dict[str, int]:
    return dict(sorted(Counter(names.fill_null(UNKNOWN).to_list()).items()))
