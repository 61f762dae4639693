"""Making a demo: pictures in a folder, labels in a database, and what happens the second time."""

import itertools
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from webcam_ml.demo._cameras import draw_cameras
from webcam_ml.demo._database import (
    DemoRecord,
    open_database,
    read_record,
    write_demo,
)
from webcam_ml.demo._elsewhere import Photograph, draw_photographs
from webcam_ml.demo._judged_rows import gold_rows
from webcam_ml.demo._judges import judge_snapshot
from webcam_ml.demo._options import UNRATED_WITH_JUDGES, DemoOptions
from webcam_ml.demo._plan import Snapshot, plan_snapshots
from webcam_ml.demo._studio import draw_all
from webcam_ml.errors import WebcamMLError
from webcam_ml.progress import track

# Increased whenever the same options give other rows or pictures than before.
GENERATOR = 2

IMAGE_FOLDER = "images"
DATABASE_FILE = "labels.sqlite"
RECORD_FILE = "demo.json"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What was said beside stars.

    Attributes:
        scores: Snapshots and pictures from elsewhere that a language model scored.
        no_sunset: Votes N.
        gold: Gold labels.
        elsewhere: Pictures from elsewhere.
    """

    scores: int
    no_sunset: int
    gold: int
    elsewhere: int

    @classmethod
    def of(cls, seed: int, plan: Sequence[Snapshot], photographs: Sequence[Photograph]) -> Self:
        """Count it."""
        scores = sum(judge_snapshot(seed, snapshot) is not None for snapshot in plan)
        votes = [vote for snapshot in plan for vote in snapshot.votes]
        return cls(
            scores=scores + len(photographs),
            no_sunset=sum(vote.stars is None for vote in votes),
            gold=len(gold_rows(seed, plan, photographs)),
            elsewhere=len(photographs),
        )


@dataclass(frozen=True, kw_only=True)
class DemoSummary:
    """What a demo consists of, and what was done for it.

    Attributes:
        outcome: Whether the database was made, extended, or had everything already.
        folder: Of pictures, absolute.
        database: URL without password.
        webcams: Cameras in the database.
        snapshots: All of them.
        rated_snapshots: Those with stars.
        ratings: Votes with stars.
        stars: Votes by number of stars, 1 to 5.
        pictures_drawn: Drawn by this call; the others were there.
        judged: What there is beside stars; None without judges.
    """

    outcome: Literal["made", "extended", "unchanged"]
    folder: Path
    database: str
    webcams: int
    snapshots: int
    rated_snapshots: int
    ratings: int
    stars: Mapping[int, int]
    pictures_drawn: int
    judged: Judged | None


_USUAL = DemoOptions()


def make_demo_data(
    folder: Path,
    *,
    database_url: str | None = None,
    webcams: int = _USUAL.webcams,
    snapshots: int = _USUAL.snapshots,
    raters_per_snapshot: float = _USUAL.raters_per_snapshot,
    unrated_fraction: float | None = None,
    image_width: int = _USUAL.image_width,
    seed: int = _USUAL.seed,
    judges: bool = False,
    processes: bool = False,
) -> DemoSummary:
    """Make a label database and the pictures that it names, or add to the ones that are there.

    Equal options give equal rows and pictures. Called again with the same options it does
    nothing but draw pictures that are missing; with more `snapshots` it adds the difference. The
    database is written last, in one transaction: after a killed run, call again.

    Args:
        folder: Gets `images/` and `demo.json`; made if missing. The database names the pictures
            by absolute paths, so the folder has to stay where it is.
        database_url: SQLAlchemy URL of an empty database or one with this demo; without it, an
            SQLite file `labels.sqlite` in the folder.
        webcams: Cameras in the database.
        snapshots: Rated snapshots.
        raters_per_snapshot: Mean number of star ratings of a rated snapshot.
        unrated_fraction: Unrated snapshots per rated one, on top of `snapshots`; without it,
            0.15, and with judges as many as a language model really judged beside.
        image_width: Width in pixels of a typical picture.
        seed: Of every random draw.
        judges: With language models, votes N, gold labels and pictures from elsewhere.
        processes: Draw in processes, see `draw_all`: for commands.

    Raises:
        LabelDatabaseError: The URL is malformed.
        WebcamMLError: The folder holds pictures of another demo, or of no demo; the database holds
            tables of the application that are not a demo's, or another demo, or cannot be opened or
            written; an option makes no demo.
    """
    if unrated_fraction is None:
        unrated_fraction = UNRATED_WITH_JUDGES if judges else _USUAL.unrated_fraction
    options = DemoOptions(
        seed=seed,
        webcams=webcams,
        snapshots=snapshots,
        raters_per_snapshot=raters_per_snapshot,
        unrated_fraction=unrated_fraction,
        image_width=image_width,
        judges=judges,
    )
    folder = folder.resolve()
    url = database_url or f"sqlite:///{folder / DATABASE_FILE}"
    wanted = DemoRecord(GENERATOR, options, folder / IMAGE_FOLDER)
    _check_folder(folder, wanted)
    folder.mkdir(parents=True, exist_ok=True)
    # Look before hours are spent on drawing; the transaction below looks again.
    with open_database(url) as connection:
        _check_database(read_record(connection), wanted)
    plan = plan_snapshots(options)
    photographs = draw_photographs(options, len(plan)) if judges else ()
    drawn = _draw_missing(
        folder, wanted, [*plan, *(one.view for one in photographs)], processes=processes
    )
    with open_database(url) as connection:
        found = read_record(connection)
        _check_database(found, wanted)
        already_there = _length_with(plan, found.options.snapshots) if found else 0
        if already_there < len(plan):
            write_demo(connection, wanted, draw_cameras(options), plan, already_there=already_there)
        shown_url = connection.engine.url.render_as_string(hide_password=True)
    stars = Counter(vote.stars for snapshot in plan for vote in snapshot.votes if vote.stars)
    return DemoSummary(
        outcome=(
            "made"
            if not already_there
            else "extended"
            if already_there < len(plan)
            else "unchanged"
        ),
        folder=folder,
        database=shown_url,
        webcams=options.webcams,
        snapshots=len(plan),
        rated_snapshots=options.snapshots,
        ratings=stars.total(),
        stars={count: stars[count] for count in range(1, 6)},
        pictures_drawn=drawn,
        judged=Judged.of(seed, plan, photographs) if judges else None,
    )


def _length_with(plan: Sequence[Snapshot], rated: int) -> int:
    """Length of the beginning of a plan that has so many rated snapshots."""
    counts = itertools.accumulate(snapshot.is_rated for snapshot in plan)
    return next(place for place, count in enumerate(counts, start=1) if count == rated)


def _differences(found: DemoRecord, wanted: DemoRecord) -> list[str]:
    """What differs, snapshots aside, as `name found (wanted ...)`."""
    there = {"generator": found.generator, **asdict(found.options)}
    here = {"generator": wanted.generator, **asdict(wanted.options)}
    return [
        f"{name} {there[name]:g} (asked for: {here[name]:g})"
        for name in here
        if name != "snapshots" and there[name] != here[name]
    ]


def _check_database(found: DemoRecord | None, wanted: DemoRecord) -> None:
    if found is None:
        return
    differences = _differences(found, wanted)
    if found.options.snapshots > wanted.options.snapshots:
        differences.append(
            f"snapshots {found.options.snapshots} (asked for: {wanted.options.snapshots}; a demo "
            "grows, it does not shrink)"
        )
    if found.image_folder != wanted.image_folder:
        differences.append(f"pictures in {found.image_folder} (asked for: {wanted.image_folder})")
    if differences:
        raise WebcamMLError(
            f"The database holds another demo: {'; '.join(differences)}. Ask for the same one, give "
            "another --folder or --database-url, or delete the old demo first."
        )


def _check_folder(folder: Path, wanted: DemoRecord) -> None:
    images = folder / IMAGE_FOLDER
    record = folder / RECORD_FILE
    if not record.exists():
        if images.exists() and any(images.iterdir()):
            raise WebcamMLError(
                f"{images} has files in it and no demo made them ({record} is missing). Nothing "
                "was changed. Give another --folder."
            )
        return
    found = json.loads(record.read_text())
    here = _folder_record(wanted)
    differing = [name for name in {**here, **found} if found.get(name) != here.get(name)]
    if differing:
        raise WebcamMLError(
            f"{folder} has the pictures of another demo: "
            + "; ".join(
                f"{name} {found.get(name)} (asked for: {here.get(name)})" for name in differing
            )
            + ". Ask for the same one, give another --folder, or delete this one first."
        )


def _folder_record(wanted: DemoRecord) -> dict[str, float]:
    """What the pictures of a folder depend on; their number can be seen in the folder."""
    record = {"generator": wanted.generator, **wanted.options.as_record()}
    del record["snapshots"]
    return record


def _draw_missing(
    folder: Path, record: DemoRecord, wanted: Sequence[Snapshot], *, processes: bool
) -> int:
    """Draw the pictures that are not there; return how many."""
    images = folder / IMAGE_FOLDER
    images.mkdir(exist_ok=True)
    _write_whole(
        folder / RECORD_FILE, (json.dumps(_folder_record(record), indent=2) + "\n").encode()
    )
    there = {entry.name for entry in os.scandir(images)}
    missing = [
        snapshot for snapshot in wanted if not snapshot.dead and snapshot.file_name not in there
    ]
    with closing(draw_all(record.options.seed, missing, processes=processes)) as drawn:
        for snapshot, data in track(
            drawn, total=len(missing), what="drawing webcams", unit="pictures"
        ):
            _write_whole(images / snapshot.file_name, data)
    return len(missing)


def _write_whole(path: Path, data: bytes) -> None:
    sibling = path.with_name(f".{path.name}.tmp")
    sibling.write_bytes(data)
    sibling.replace(path)
