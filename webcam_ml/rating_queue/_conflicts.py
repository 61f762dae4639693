"""Where people and a judge, or two judges, differ most: a list of its own, for those who rate by it.

Training webcams alone: a test set in which pictures were rated again because a judge contradicts them
would be one that judges had chosen.
"""

import polars as pl

from webcam_ml.contracts import JUDGE_CONFLICTS_TABLE, PEOPLE
from webcam_ml.dataset import Manifest
from webcam_ml.dataset.images import ImageIndex
from webcam_ml.labels import Judgements

TRAIN = "train"
# What is nearer is no conflict: people themselves differ as much.
LEAST_DIFFERENCE = 1.0


def judge_conflicts(
    judged: Judgements,
    manifest_full: Manifest,
    *,
    rated: pl.Series,
    index: ImageIndex,
) -> pl.DataFrame:
    """List the snapshots of training webcams of which two say stars that are far apart.

    People say the mean of their ratings, a judge that speaks what its score means in stars. Of more than
    two the lowest and the highest are compared. Judges that are not trusted are not asked.

    Args:
        judged: What each judge said.
        manifest_full: People's labels, splits, and what scores mean.
        rated: `snapshot_id` of the snapshots that people have voted on by now: where they have no label
            yet, what judges say is settled.
        index: Pictures of the manifest's rows: those that cannot be read or show nothing are not listed.

    Returns:
        The columns of `JUDGE_CONFLICTS_TABLE`, the largest difference first.
    """
    opinions = pl.concat(
        [_of_people(manifest_full), *_of_judges(judged, manifest_full, rated=rated)]
    )
    webcams = pl.concat(
        [
            manifest_full.frame.select("snapshot_id", "webcam_id", "image_path_or_url"),
            judged.snapshots.select("snapshot_id", "webcam_id", "image_path_or_url"),
        ]
    ).unique("snapshot_id")
    splits = manifest_full.meta.splits_of(webcams["webcam_id"])
    hidden = index.frame.filter(pl.col("status") != "ok")
    # Where two say the same the names decide, so that equal inputs give equal lists.
    low, high = pl.all().sort_by("stars", "who").first(), pl.all().sort_by("stars", "who").last()
    return (
        opinions.group_by("snapshot_id")
        .agg(low.name.suffix("_low"), high.name.suffix("_high"))
        .with_columns(difference=(pl.col("stars_high") - pl.col("stars_low")).round(2))
        .filter(pl.col("difference") >= LEAST_DIFFERENCE)
        .join(webcams, on="snapshot_id")
        .join(splits, on="webcam_id")
        .filter(pl.col("split") == TRAIN)
        .join(hidden, on="snapshot_id", how="anti")
        .sort(["difference", "snapshot_id"], descending=[True, False])
        .select(
            "snapshot_id",
            "webcam_id",
            "split",
            lowest="who_low",
            lowest_stars=pl.col("stars_low").round(2),
            highest="who_high",
            highest_stars=pl.col("stars_high").round(2),
            difference="difference",
            reason=pl.format("{}, {}", "said_low", "said_high"),
            image_path_or_url="image_path_or_url",
        )
        .select(JUDGE_CONFLICTS_TABLE.names)
    )


def _of_people(manifest: Manifest) -> pl.DataFrame:
    people = manifest.frame.filter(pl.col("label_origin") == PEOPLE)
    return people.select(
        "snapshot_id",
        who=pl.lit("people"),
        stars="label_value",
        said=pl.format(
            "people say {} ({} ratings)", pl.col("label_value").round(2), "rating_count"
        ),
    )


def _of_judges(judged: Judgements, manifest: Manifest, *, rated: pl.Series) -> list[pl.DataFrame]:
    assert manifest.meta.heard is not None
    labelled = manifest.frame.filter(pl.col("label_origin") == PEOPLE)["snapshot_id"]
    settled = rated.filter(~rated.is_in(labelled.implode()))
    scores = judged.scores().filter(
        pl.col("snapshot_id") >= 0, ~pl.col("snapshot_id").is_in(settled.implode())
    )
    found = []
    for judge in manifest.meta.heard.judges:
        of = judge.calibration
        if not of.speaks or of.stars is None:
            continue
        said = scores.filter(pl.col("judge") == of.name)
        stars = pl.Series("stars", of.stars(said["score"].to_numpy()), dtype=pl.Float64)
        found.append(
            said.with_columns(stars).select(
                "snapshot_id",
                who="judge",
                stars="stars",
                said=pl.format("{} says {} (score {})", "judge", pl.col("stars").round(2), "score"),
            )
        )
    return found
