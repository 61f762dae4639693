"""What is to be rated, in which order: a queue of the store, a webcam, ids, or a file that somebody made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import sqlalchemy as sa

from webcam_ml.disagreement import QUEUE_FILE
from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import LabelDatabase
from webcam_ml.rating_queue import JUDGE_CONFLICTS_FILE, RATING_QUEUE_FILE
from webcam_ml.review._csv import Line, read_lines, whole_number
from webcam_ml.store import ArtifactStore, StoredArtifact

RATING_QUEUE = "rating_queue"
RELABEL_QUEUE = "disagreement_report"


@dataclass(frozen=True)
class ByAnybody:
    """A frame needs no vote once anybody has voted on it.

    Attributes:
        since: Only votes from then on count, `YYYY-MM-DD HH:MM:SS` in UTC; None: all.
    """

    since: str | None = None


@dataclass(frozen=True)
class ByCurator:
    """A frame needs no vote once this curator has voted on it."""

    curator: str


AnsweredRule: TypeAlias = ByAnybody | ByCurator


@dataclass(frozen=True)
class Wanted:
    """A list of snapshots to rate.

    Attributes:
        what: What the list is, in a few words.
        snapshot_ids: In the order in which to rate them, each once.
        rule: Whose votes make a frame need no vote.
        webcam_ids: Webcam of each, where the list says it.
        images: Path or URL of the picture of each, where the list says it.
        notes: What the list says of each; shown after the vote.
    """

    what: str
    snapshot_ids: Sequence[int]
    rule: AnsweredRule
    webcam_ids: Mapping[int, int] = field(default_factory=dict)
    images: Mapping[int, str] = field(default_factory=dict)
    notes: Mapping[int, str] = field(default_factory=dict)


def from_rating_queue(store: ArtifactStore) -> Wanted:
    """Take the newest rating queue of the store: frames that nobody had rated when it was made.

    Raises:
        ArtifactMissingError: There is none.
        ArtifactDamagedError: It is not what was stored.
    """
    stored = store.latest(RATING_QUEUE)
    return _from_store(stored, RATING_QUEUE_FILE, f"rating queue {stored.version}", ByAnybody())


def from_relabel_queue(store: ArtifactStore) -> Wanted:
    """Take the relabel queue of the newest disagreement report, but for what was rated again since.

    Raises:
        ArtifactMissingError: There is none.
        ArtifactDamagedError: It is not what was stored.
    """
    stored = store.latest(RELABEL_QUEUE)
    return _from_store(stored, QUEUE_FILE, f"relabel queue {stored.version}", _since_made(stored))


def from_judge_conflicts(store: ArtifactStore) -> Wanted:
    """Take where people and judges differ most, by the newest rating queue; not what was rated since.

    Raises:
        ArtifactMissingError: There is no queue.
        ArtifactDamagedError: It is not what was stored.
        WebcamMLError: It was made of labels that hear no judges.
    """
    stored = store.latest(RATING_QUEUE)
    if not (stored.folder / JUDGE_CONFLICTS_FILE).exists():
        raise WebcamMLError(
            f"rating queue {stored.version} has no list of conflicts ({JUDGE_CONFLICTS_FILE}): its labels "
            "hear no judges. Set label_source: all_judges for labels_raw and materialize rating_queue "
            "and what it is made of"
        )
    what = f"judges' conflicts of {stored.version}"
    return _from_store(stored, JUDGE_CONFLICTS_FILE, what, _since_made(stored))


def from_file(path: Path, *, curator: str) -> Wanted:
    """Take the snapshots of a CSV file with a column snapshot_id, in their order.

    Raises:
        WebcamMLError: The file cannot be read, or an id in it.
    """
    return _from_lines(path, path.name, ByCurator(curator))


def from_ids(snapshot_ids: Sequence[int], *, curator: str) -> Wanted:
    """Take some snapshots."""
    ids = list(dict.fromkeys(snapshot_ids))
    return Wanted(f"{len(ids)} snapshots", ids, ByCurator(curator))


def from_webcam(database: LabelDatabase, webcam_id: int, *, curator: str) -> Wanted:
    """Take all snapshots of a webcam, the newest first.

    Raises:
        WebcamMLError: The webcam has none.
        LabelDatabaseError: The database cannot be read.
    """
    snapshots = sa.table(
        "webcam_snapshots", sa.column("id"), sa.column("webcam_id"), sa.column("captured_at")
    )
    with database.reading() as connection:
        database.require_columns(connection, {snapshots.name: snapshots.columns.keys()})
        ids = connection.scalars(
            sa.select(snapshots.c.id)
            .where(snapshots.c.webcam_id == webcam_id)
            .order_by(snapshots.c.captured_at.desc(), snapshots.c.id.desc())
        ).all()
    if not ids:
        raise WebcamMLError(f"{database} has no snapshot of a webcam {webcam_id}")
    return Wanted(f"webcam {webcam_id}", ids, ByCurator(curator))


def _since_made(stored: StoredArtifact) -> ByAnybody:
    made = datetime.fromisoformat(stored.lineage.created_at)
    return ByAnybody(since=f"{made:%Y-%m-%d %H:%M:%S}")


def _from_store(stored: StoredArtifact, name: str, what: str, rule: AnsweredRule) -> Wanted:
    stored.verify()
    return _from_lines(stored.folder / name, what, rule)


def _from_lines(path: Path, what: str, rule: AnsweredRule) -> Wanted:
    ids: dict[int, Line] = {}
    for line in read_lines(path, needed=["snapshot_id"]):
        snapshot_id = whole_number(line.cells["snapshot_id"])
        if snapshot_id is None:
            raise WebcamMLError(
                f"{path}, line {line.number}: {line.cells['snapshot_id'][:40]!r} is no snapshot_id"
            )
        ids.setdefault(snapshot_id, line)
    webcams = {one: whole_number(line.cells.get("webcam_id", "")) for one, line in ids.items()}
    notes = {one: _note(line.cells) for one, line in ids.items()}
    return Wanted(
        what,
        list(ids),
        rule,
        webcam_ids={one: webcam for one, webcam in webcams.items() if webcam is not None},
        images={
            one: image
            for one, line in ids.items()
            if (image := line.cells.get("image_path_or_url", "").strip())
        },
        notes={one: note for one, note in notes.items() if note},
    )


def _note(cells: Mapping[str, str]) -> str:
    """What a queue says of a frame and nobody should read before voting."""
    if cells.get("reason"):
        return f"{cells.get('picked_by', '')}: {cells['reason']}".removeprefix(": ")
    if cells.get("ai_rating"):
        kind = f" ({cells['prediction_kind']})" if cells.get("prediction_kind") else ""
        return f"model {cells['ai_rating']}{kind}, people {cells.get('human_rating', '')}"
    return ""
