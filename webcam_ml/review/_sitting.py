"""One sitting of one curator: which frames come next, what became of the votes, how far it is."""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import LabelDatabase, LabelDatabaseError
from webcam_ml.review._frames import Frame, Frames
from webcam_ml.review._journal import GONE, SAVED, Cast, Entry, Journal, Undo, votes_an_hour
from webcam_ml.review._pictures import NoPicture, Pictures
from webcam_ml.review._said import Said, read_said
from webcam_ml.review._votes import NO_SUNSET, Vote
from webcam_ml.review._wanted import Wanted
from webcam_ml.review._writer import VoteWriter

# So much is known of the next frames that a database which is away for a minute stops nobody.
LOOKED_UP_AHEAD = 400
FETCHED_AHEAD = 24
SECONDS_THAT_END_A_SITTING = 600.0
DELETED = "deleted"


@dataclass(frozen=True)
class Wish:
    """What the page asks for: a vote, or that one is taken back.

    Attributes:
        id: The page's name for it.
        snapshot_id: Of the vote.
        vote: The vote; None to take one back.
        undoes: The id of the vote to take back.
    """

    id: str
    snapshot_id: int = 0
    vote: Vote | None = None
    undoes: str = ""


class Sitting:
    """What the server knows of a sitting; safe to use from several threads.

    Args:
        wanted: What is to be rated.
        frames: Where frames are looked up.
        pictures: Where pictures come from.
        journal: Where votes are kept.
        writer: What carries them on.
        curator: Who votes.
        why_no_n: Why N is not offered; None if it is.
        database: Where it can be read what others said; None for nowhere.
        answered: Snapshots that need no vote although `frames` does not know it.

    Raises:
        LabelDatabaseError: The database cannot be read.
        WebcamMLError: The list is empty, or made for another database.
    """

    def __init__(
        self,
        wanted: Wanted,
        *,
        frames: Frames,
        pictures: Pictures,
        journal: Journal,
        writer: VoteWriter,
        curator: str,
        why_no_n: str | None,
        database: LabelDatabase | None,
        answered: frozenset[int] = frozenset(),
    ) -> None:
        self.wanted = wanted
        self.curator = curator
        self.why_no_n = why_no_n
        self.journal = journal
        self._frames = frames
        self._pictures = pictures
        self._writer = writer
        self._database = database
        self._place = {one: place for place, one in enumerate(wanted.snapshot_ids)}
        self._lock = threading.Lock()
        self._known: dict[int, Frame] = {}
        self._answered = set(answered)
        self._not_shown: dict[int, str] = {}
        # Of these the database knows; a list may want them rated again.
        self._settled_before = {
            entry.id for entry in journal.entries() if journal.outcome(entry.id) is not None
        }
        self._require_snapshots()

    @property
    def can_reveal(self) -> bool:
        """Whether anything can be shown of what others think."""
        return self._database is not None or bool(self.wanted.notes)

    def ahead(self, start: int, count: int) -> tuple[list[dict[str, Any]], int]:
        """Give the next frames that need a vote and have a picture, in the order of the list.

        Args:
            start: Place in the list from which on.
            count: How many at most.

        Returns:
            What the page shows of each, and the place from which to ask on.

        Raises:
            LabelDatabaseError: The database is away, and nothing is known of the next frames.
        """
        candidates = self._open_from(start)
        trouble = None
        try:
            self._look(candidates)
        except LabelDatabaseError as error:
            trouble = error
        candidates = self._still_open(candidates)
        frames = [self._known[one] for one in candidates if one in self._known]
        for frame in frames[: count + FETCHED_AHEAD]:
            self._pictures.fetch(frame)
        found: list[dict[str, Any]] = []
        for one in candidates:
            known = self._known.get(one)
            if known is None or len(found) == count:
                if trouble is not None and not found:
                    raise trouble
                return found, self._place[one]
            picture = self._pictures.fetch(known).result()
            if isinstance(picture, NoPicture):
                with self._lock:
                    self._not_shown[one] = picture.reason
            else:
                found.append({"place": self._place[one], **_shown(known)})
        return found, self._place[candidates[-1]] + 1 if candidates else len(self._place)

    def picture(self, snapshot_id: int) -> tuple[bytes, str] | NoPicture:
        """Give the file of a picture and its media type.

        Raises:
            KeyError: The snapshot is not in the list.
            LabelDatabaseError: The database is away, and nothing is known of the frame.
            DamagedImageError: The cache has lost it since.
        """
        self._place[snapshot_id]
        if snapshot_id not in self._known:
            self._look([snapshot_id])
        frame = self._known.get(snapshot_id)
        return NoPicture(DELETED) if frame is None else self._pictures.content(frame)

    def accept(self, wishes: Sequence[Wish]) -> None:
        """Put votes into the journal: from then on they are not lost.

        Raises:
            JournalError: The journal cannot be written; nothing of it is kept.
            ValueError: A vote N that has no place, or an undo of a vote that is not there.
        """
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        entries: list[Entry] = []
        for wish in wishes:
            if wish.vote is None:
                entries.append(Undo(wish.id, at, wish.undoes))
            elif wish.vote == NO_SUNSET and self.why_no_n is not None:
                raise ValueError(self.why_no_n)
            else:
                entries.append(Cast(wish.id, at, wish.snapshot_id, wish.vote))
        self.journal.add(entries)
        undone = [self.journal.cast(one.undoes) for one in entries if isinstance(one, Undo)]
        with self._lock:
            # One that is sent again, as its answer was lost, takes back nothing that was voted since.
            self._answered -= {
                vote.snapshot_id
                for vote in undone
                if self.journal.latest_vote(vote.snapshot_id) is None
            }

    def said(self, snapshot_id: int) -> list[Said] | None:
        """Say what others think of a frame; None before the curator has voted on it.

        Raises:
            LabelDatabaseError: The database cannot be read now.
        """
        if self._own_vote(snapshot_id) is None:
            return None
        said = []
        if self._database is not None:
            said = read_said(self._database, snapshot_id, curator=self.curator)
        if (note := self.wanted.notes.get(snapshot_id)) is not None:
            said.append(Said("the list", note))
        return said

    def status(self) -> dict[str, Any]:
        """Say how far it is and what became of the votes, as the page shows it."""
        entries = self.journal.entries()
        # Of one moment: a vote that is saved meanwhile would be neither rated nor waiting.
        outcomes = {entry.id: self.journal.outcome(entry.id) for entry in entries}
        recent = [entry for entry in entries if entry.id not in self._settled_before]
        votes = [
            vote
            for one in {entry.snapshot_id for entry in recent if isinstance(entry, Cast)}
            if one in self._place and (vote := self._own_vote(one)) is not None
        ]
        own = {vote.snapshot_id for vote in votes}
        saved = {one.snapshot_id for one in votes if outcomes.get(one.id) == SAVED}
        with self._lock:
            rated = self._answered | saved
            done = self._answered | own
            not_shown = {one: why for one, why in self._not_shown.items() if one not in done}
        return {
            "total": len(self._place),
            "rated": len(rated),
            "left": len(self._place) - len(done) - len(not_shown),
            "not_shown": dict(sorted(Counter(not_shown.values()).items())),
            "waiting": [entry_id for entry_id, outcome in outcomes.items() if outcome is None],
            "trouble": self._writer.trouble,
            "an_hour": votes_an_hour(
                entries, now=datetime.now(UTC), pause=SECONDS_THAT_END_A_SITTING
            ),
            "notices": [notice for entry in recent if (notice := self._notice(entry)) is not None],
        }

    def _own_vote(self, snapshot_id: int) -> Cast | None:
        """The curator's vote in this sitting, whether the database has it or not."""
        vote = self.journal.latest_vote(snapshot_id)
        return None if vote is None or vote.id in self._settled_before else vote

    def _notice(self, entry: Entry) -> dict[str, Any] | None:
        """What became of an entry, if that is not what was wanted."""
        outcome = self.journal.outcome(entry.id)
        if outcome in (None, SAVED):
            return None
        if isinstance(entry, Undo):
            if outcome == GONE:
                return None  # That of the vote says it.
            vote = self.journal.cast(entry.undoes)
            what = "your vote was changed elsewhere meanwhile, and was not taken back"
        else:
            vote = entry
            what = "it was deleted while it was on the page: your vote has no place"
        return {"id": entry.id, "text": f"Snapshot {vote.snapshot_id}: {what}."}

    def _open_from(self, start: int) -> list[int]:
        """The next snapshots of which nothing is known that keeps them from being shown."""
        found: list[int] = []
        ids = self.wanted.snapshot_ids
        with self._lock:
            for place in range(start, len(ids)):
                if self._is_open(ids[place]):
                    found.append(ids[place])
                    if len(found) == LOOKED_UP_AHEAD:
                        break
        return found

    def _still_open(self, snapshot_ids: Sequence[int]) -> list[int]:
        with self._lock:
            return [one for one in snapshot_ids if self._is_open(one)]

    def _is_open(self, snapshot_id: int) -> bool:
        return (
            snapshot_id not in self._answered
            and snapshot_id not in self._not_shown
            and self._own_vote(snapshot_id) is None
        )

    def _look(self, snapshot_ids: Sequence[int]) -> None:
        """Look frames up anew, and keep what is found."""
        look = self._frames.look(snapshot_ids)
        gone = set(snapshot_ids) - look.frames.keys()
        with self._lock:
            self._known |= look.frames
            self._answered |= look.answered
            self._not_shown |= dict.fromkeys(gone, DELETED)

    def _require_snapshots(self) -> None:
        """Look at the whole list, and refuse one of another database."""
        ids = self.wanted.snapshot_ids
        if not ids:
            raise WebcamMLError(f"{self.wanted.what}: there is nothing in it to rate")
        look = self._frames.look(ids)
        what = f"{self.wanted.what}: it was made for another database"
        if not look.frames:
            raise WebcamMLError(
                f"{what}: none of its {len(ids):,} snapshots is in the one that DATABASE_URL names"
            )
        for one, webcam_id in self.wanted.webcam_ids.items():
            frame = look.frames.get(one)
            if frame is not None and frame.webcam_id != webcam_id:
                raise WebcamMLError(
                    f"{what}: there snapshot {one} is of webcam {webcam_id}, and in the one that "
                    f"DATABASE_URL names it is of webcam {frame.webcam_id}. Set DATABASE_URL as it was, "
                    "or make the list anew"
                )
        self._answered |= look.answered
        self._not_shown |= dict.fromkeys(set(ids) - look.frames.keys(), DELETED)


def _shown(frame: Frame) -> dict[str, Any]:
    """What the page shows of a frame before the vote."""
    return {
        "snapshot_id": frame.snapshot_id,
        "title": frame.title or f"Webcam {frame.webcam_id}",
        "phase": frame.phase or "",
        "captured_at": (frame.captured_at or "")[:16],
    }
