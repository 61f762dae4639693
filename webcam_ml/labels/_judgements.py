"""What each judge said of each snapshot, unmixed: beside the labels, which are people's alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import polars as pl

from webcam_ml.contracts import (
    EXTERNAL_IMAGES_TABLE,
    JUDGED_SNAPSHOTS_TABLE,
    JUDGEMENTS_TABLE,
)
from webcam_ml.labels._scores import Scores
from webcam_ml.labels._votes import Votes

SAID_FILE = "judgements.csv"
SNAPSHOTS_FILE = "judged_snapshots.csv"
EXTERNAL_FILE = "external_images.csv"
SCORE = "score"


@dataclass(frozen=True, eq=False)
class Judgements:
    """What every judge said.

    Attributes:
        said: One row for each snapshot and kind of judgement, ordered by them: `snapshot_id`, `kind`
            (`stars`, `no_sunset`, `gold`, `gold_no_sunset`: votes of people; `score`: of a judge),
            `judge` (its name; null for people), `value` (mean stars, 1 for N; score of 0–1), `votes`
            and `spread` (standard deviation, in stars; null for a judge).
        snapshots: Snapshots with an image that a judge scored and no person voted on, ordered by
            `snapshot_id`.
        counts: How many votes of each kind there are, and what dropped out.
        judges: Name of each judge → `scores`, and `with_people`: those of snapshots with a label.
        external: Pictures from elsewhere with an address that a judge scored or the curator labelled,
            with the columns of `EXTERNAL_IMAGES_TABLE`; None unless they were asked for.
    """

    said: pl.DataFrame
    snapshots: pl.DataFrame
    counts: Mapping[str, int]
    judges: Mapping[str, Mapping[str, int]]
    external: pl.DataFrame | None = None

    @classmethod
    def of(
        cls,
        votes: Votes,
        scores: Scores,
        *,
        labelled: pl.DataFrame,
        alone: pl.DataFrame,
        external: pl.DataFrame | None = None,
    ) -> Self:
        """Put together what was read.

        Args:
            votes: Of people.
            scores: Of judges.
            labelled: Snapshots that have a label of people.
            alone: Snapshots that no person voted on, with what the database says of them.
            external: All pictures from elsewhere; None unless they are asked for.
        """
        alone = alone.join(scores.frame, on="snapshot_id", how="semi")
        placed = alone.filter(pl.col("webcam_id").is_not_null())
        usable = placed.filter(pl.col("image_path_or_url").is_not_null())
        said = pl.concat([_of_people(votes), _of_judges(scores)])
        covered, about_external = None, dict[str, int]()
        if external is not None:
            covered, about_external = _covered(external, said, gold_of_gone=votes.gone_external)
        known = [
            one.select("snapshot_id") for one in (labelled, usable, covered) if one is not None
        ]
        said = said.join(pl.concat(known), on="snapshot_id", how="semi")
        of_snapshots = scores.frame.filter(pl.col("snapshot_id") >= 0)
        with_people = of_snapshots.join(labelled, on="snapshot_id", how="semi")
        number = dict(of_snapshots.group_by("judge").len().iter_rows())
        common = dict(with_people.group_by("judge").len().iter_rows())
        return cls(
            said=said.sort("snapshot_id", "kind", "judge"),
            snapshots=usable.sort("snapshot_id"),
            counts={
                **votes.counts(),
                "gold_same_as_rating": votes.same_twice,
                "gold_of_gone_snapshots": votes.gone,
                "scores_without_judge": scores.nameless,
                "scores_of_judges_not_asked": scores.not_asked,
                "judged_without_webcam": alone.height - placed.height,
                "judged_without_image": placed.height - usable.height,
                **about_external,
            },
            judges={
                name: {"scores": number.get(name, 0), "with_people": common.get(name, 0)}
                for name in scores.frame["judge"].unique().sort()
            },
            external=covered,
        )

    def scores(self) -> pl.DataFrame:
        """Give what judges that are not people said: `snapshot_id`, `judge`, `score`."""
        return scores_of(self.said)

    def gold_of_external(self) -> pl.DataFrame:
        """Give the curator's labels of pictures from elsewhere: `snapshot_id`, `label_value` (stars)."""
        gold = self.said.filter(pl.col("kind") != SCORE, pl.col("snapshot_id") < 0)
        return gold.select("snapshot_id", label_value="value")

    def save(self, folder: Path) -> None:
        """Write the tables; equal judgements give equal bytes."""
        JUDGEMENTS_TABLE.write(self.said, folder / SAID_FILE)
        JUDGED_SNAPSHOTS_TABLE.write(self.snapshots, folder / SNAPSHOTS_FILE)
        if self.external is not None:
            EXTERNAL_IMAGES_TABLE.write(self.external, folder / EXTERNAL_FILE)

    def to_dict(self) -> dict[str, Any]:
        """Give the counts, for labels_meta.json."""
        return {
            "counts": dict(self.counts),
            "judges": {name: dict(numbers) for name, numbers in self.judges.items()},
        }

    @classmethod
    def load(cls, folder: Path, values: Mapping[str, Any]) -> Self:
        """Read what `save` and `to_dict` gave.

        Raises:
            TableError: A column that is needed is missing or of another type.
        """
        external = folder / EXTERNAL_FILE
        return cls(
            said=JUDGEMENTS_TABLE.read(folder / SAID_FILE),
            snapshots=JUDGED_SNAPSHOTS_TABLE.read(folder / SNAPSHOTS_FILE),
            counts=values["counts"],
            judges=values["judges"],
            external=EXTERNAL_IMAGES_TABLE.read(external) if external.exists() else None,
        )


def _covered(
    external: pl.DataFrame, said: pl.DataFrame, *, gold_of_gone: int
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Keep the pictures of which something was said, and count."""
    of_someone = external.join(said, on="snapshot_id", how="semi")
    covered = of_someone.filter(pl.col("image_path_or_url").is_not_null())
    gold = covered.join(said.filter(pl.col("kind") != SCORE), on="snapshot_id", how="semi")
    return covered, {
        "external_images": external.height,
        "external_images_with_gold": gold.height,
        "external_images_with_scores_alone": covered.height - gold.height,
        "external_images_without_address": of_someone.height - covered.height,
        "gold_of_gone_external_images": gold_of_gone,
    }


def scores_of(said: pl.DataFrame) -> pl.DataFrame:
    """Take what judges that are not people said out of a table: `snapshot_id`, `judge`, `score`."""
    return said.filter(pl.col("kind") == SCORE).select("snapshot_id", "judge", score="value")


def _of_people(votes: Votes) -> pl.DataFrame:
    # Sums of whole stars are exact, whatever the order of the rows: equal bits on every database.
    number, total, squares = pl.len(), pl.col("rating").sum(), (pl.col("rating") ** 2).sum()
    return votes.frame.group_by("snapshot_id", "kind").agg(
        judge=pl.lit(None, dtype=pl.String),
        value=total / number,
        votes=number.cast(pl.Int64),
        spread=((squares - total * total / number) / number).clip(0).sqrt(),
    )


def _of_judges(scores: Scores) -> pl.DataFrame:
    return scores.frame.select(
        "snapshot_id",
        pl.lit(SCORE).alias("kind"),
        "judge",
        pl.col("score").alias("value"),
        pl.lit(1, dtype=pl.Int64).alias("votes"),
        pl.lit(None, dtype=pl.Float64).alias("spread"),
    )
