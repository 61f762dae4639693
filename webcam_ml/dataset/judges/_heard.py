"""Which rows of a manifest come of what judges said, and with which target and weight."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import polars as pl

from webcam_ml.contracts import OF_A_WEBCAM, STAR_COLUMNS, document_sha256
from webcam_ml.dataset._targets import TargetConfig
from webcam_ml.dataset.judges._calibration import (
    DRIFT,
    Calibration,
    calibrate_judge,
    population_stability,
)
from webcam_ml.dataset.judges._external import ExternalRows, external_pictures
from webcam_ml.dataset.judges._monotone import DECIMALS
from webcam_ml.labels import Judgements

logger = logging.getLogger(__name__)

TRAIN = "train"
ORIGIN = "judge:"


@dataclass(frozen=True)
class HeardJudge:
    """A judge, and what its scores became.

    Attributes:
        calibration: What its scores mean, and whether it speaks.
        rows: Training rows that have its label, those of pictures from elsewhere too.
        drift: Population stability index between the scores that its map was learned on and those of
            training webcams where it is alone; None where it does not speak or is never alone.
    """

    calibration: Calibration
    rows: int
    drift: float | None

    @property
    def has_drifted(self) -> bool:
        """Whether the map was learned on other pictures than it is used for."""
        return self.drift is not None and self.drift > DRIFT


@dataclass(frozen=True)
class HeardJudges:
    """All judges, and what was left out.

    Attributes:
        judges: In the order of their names.
        left_out: Reason → snapshots that only judges know and that have no row: of webcams of `val` and
            `test`, whose labels are people's alone, and of training webcams where `no_judge_speaks`.
        external: What became of pictures from elsewhere; None unless they were asked for.
    """

    judges: tuple[HeardJudge, ...]
    left_out: Mapping[str, int]
    external: ExternalRows | None = None

    @property
    def speaking(self) -> tuple[str, ...]:
        """The names of the judges whose scores become labels."""
        return tuple(one.calibration.name for one in self.judges if one.calibration.speaks)

    @property
    def weights(self) -> Mapping[str, float]:
        """What one label of each judge that speaks counts in training."""
        judges = (one.calibration for one in self.judges)
        return {one.name: one.weight for one in judges if one.speaks}

    @property
    def calibration_sha256(self) -> str:
        """Digest of all that labels of judges are made by: who speaks, both maps and the weight."""
        makes_labels = ("name", "knots", "target_knots", "weight")
        speaking = [one.calibration.to_dict() for one in self.judges if one.calibration.speaks]
        return document_sha256(
            {"judges": [{key: one[key] for key in makes_labels} for one in speaking]}
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the entries of export_meta.json."""
        return {
            "judges": [
                {**one.calibration.to_dict(), "rows": one.rows, "drift": one.drift}
                for one in self.judges
            ],
            "judged_left_out": dict(self.left_out),
            **({} if self.external is None else {"external_rows": self.external.to_dict()}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        return cls(
            tuple(
                HeardJudge(Calibration.from_dict(one), one["rows"], one["drift"])
                for one in values["judges"]
            ),
            values["judged_left_out"],
            ExternalRows.from_dict(values["external_rows"]) if "external_rows" in values else None,
        )


def hear_judges(
    judged: Judgements,
    people: pl.DataFrame,
    *,
    target: TargetConfig,
    splits: pl.DataFrame,
    camera_of: Mapping[int, int],
    external_weight: float = 1.0,
) -> tuple[HeardJudges, pl.DataFrame]:
    """Calibrate each judge on training webcams, and make training rows of what only judges know.

    Where several judges speak on a picture, the one whose label weighs most is heard. No score of a
    webcam of validation or test is looked at. Pictures from elsewhere are for training, with the
    curator's label where there is one; nothing is calibrated on them.

    Args:
        judged: What judges said.
        people: Rows with labels of people, with their `split`.
        target: What the model is asked.
        splits: `webcam_id` and `split` of all webcams.
        camera_of: Webcam → camera, of those that are not a camera of their own.
        external_weight: What labels of pictures from elsewhere weigh, where equal ones of webcams
            weigh 1.

    Returns:
        The judges, and rows with the columns of people's: `label_value` is the stars that the score
        means, `target_label` the target that it means.
    """
    train = people.filter(pl.col("split") == TRAIN)
    known = train.with_columns(camera_id=pl.col("webcam_id").replace(camera_of))
    placed = judged.snapshots.join(splits, on="webcam_id", how="left")
    alone = placed.filter(pl.col("split") == TRAIN)
    gold, others = external_pictures(judged, target=target)
    pictures = pl.concat([alone, others], how="diagonal")
    calibrations: list[Calibration] = []
    spoken: list[pl.DataFrame] = []
    drifts: dict[str, float] = {}
    scores = judged.scores()
    for name in sorted(judged.judges):
        own = scores.filter(pl.col("judge") == name)
        common = known.join(own, on="snapshot_id", how="inner").sort("snapshot_id")
        calibration = calibrate_judge(name, common, target=target)
        calibrations.append(calibration)
        new = pictures.join(own, on="snapshot_id", how="inner").sort("snapshot_id")
        if not calibration.speaks or new.is_empty():
            continue
        # Photographs are other pictures anyway: their scores would hide whether those of webcams moved.
        on_webcams = new.filter(OF_A_WEBCAM)["score"]
        if not on_webcams.is_empty():
            drifts[name] = population_stability(common["score"].to_numpy(), on_webcams.to_numpy())
        spoken.append(_spoken(new, calibration))
    # Judges come in the order of their names, and sorting keeps it among equal weights.
    rows = (
        pl.concat([_no_rows(pictures), *spoken])
        .sort("label_weight", descending=True, maintain_order=True)
        .unique("snapshot_id", keep="first", maintain_order=True)
    )
    numbers = dict(rows.group_by("label_origin").len().iter_rows())
    of_webcams = rows.filter(OF_A_WEBCAM).height
    rows = pl.concat([rows, gold], how="diagonal")
    external = None
    if judged.external is not None:
        of_elsewhere = rows.filter(~OF_A_WEBCAM)
        external = ExternalRows.of(of_elsewhere, known=judged.external.height)
    heard = HeardJudges(
        judges=tuple(
            HeardJudge(one, numbers.get(ORIGIN + one.name, 0), drifts.get(one.name))
            for one in calibrations
        ),
        left_out={
            "val": placed.filter(pl.col("split") == "val").height,
            "test": placed.filter(pl.col("split") == "test").height,
            "no_judge_speaks": alone.height - of_webcams,
        },
        external=external,
    )
    _tell(heard)
    weight = pl.when(OF_A_WEBCAM).then(1.0).otherwise(external_weight)
    return heard, rows.with_columns(
        pl.lit(people["label_source"].first()).alias("label_source"),
        pl.lit(TRAIN).alias("split"),
        (pl.col("label_weight") * weight).round(DECIMALS),
        *(pl.col(name).fill_null(0) for name in ("rating_count", *STAR_COLUMNS)),
        *(pl.lit(None, dtype=pl.Float64).alias(f"{kind}_rating") for kind in ("cached", "fresh")),
    ).select(people.columns)


def _spoken(pictures: pl.DataFrame, calibration: Calibration) -> pl.DataFrame:
    """Give pictures the label that a judge's score of them means."""
    assert calibration.stars is not None
    assert calibration.target is not None
    score = pictures["score"].to_numpy()
    return pictures.with_columns(
        label_value=pl.Series(calibration.stars(score)),
        target_label=pl.Series(calibration.target(score)),
        label_weight=pl.lit(calibration.weight),
        label_origin=pl.lit(ORIGIN + calibration.name),
    )


def _no_rows(pictures: pl.DataFrame) -> pl.DataFrame:
    return pictures.head(0).with_columns(
        judge=pl.lit(None, dtype=pl.String),
        score=pl.lit(None, dtype=pl.Float64),
        label_value=pl.lit(None, dtype=pl.Float64),
        target_label=pl.lit(None, dtype=pl.Float64),
        label_weight=pl.lit(None, dtype=pl.Float64),
        label_origin=pl.lit(None, dtype=pl.String),
    )


def _tell(heard: HeardJudges) -> None:
    if heard.external is not None:
        logger.info("pictures from elsewhere: %s", heard.external.to_dict())
    for one in heard.judges:
        name = one.calibration.name
        if one.calibration.reason is not None:
            logger.warning("judge %s does not speak: %s", name, one.calibration.reason)
        else:
            weight = one.calibration.weight
            logger.info("judge %s: %d labels that weigh %.3f each", name, one.rows, weight)
        if one.has_drifted:
            logger.warning(
                "judge %s: its scores where it is alone differ from those that its scale was learned "
                "on (population stability index %.2f, above %g): rate some of the snapshots that "
                "only it knows",
                name,
                one.drift,
                DRIFT,
            )
