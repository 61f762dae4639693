"""The gallery: one HTML file with everything inside, made from text that is not trusted.

Template, style and script are beside this module, in ``gallery/``; what keeps hostile text harmless is in
`webcam_ml.pages`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from webcam_ml.contracts import STARS
from webcam_ml.disagreement._asked_before import AskedBefore
from webcam_ml.disagreement._document import DisagreementDocument, Group, JudgeSaid, ReportRow, Said
from webcam_ml.disagreement._rows import RECORDED_KINDS
from webcam_ml.pages import (
    data_uri,
    is_web_address,
    render_page,
    shortened,
    shown_date,
    without_password,
)

# The page has cards of at most so many rows of the list, and of all of the queue, which is no longer.
LARGEST_GALLERY = 500

DIRECTIONS = {"model_high": "model higher", "model_low": "model lower", None: "equal"}
KINDS = {
    "out_of_fold": "out-of-fold",
    "out_of_fold_probe": "out-of-fold, by the probe",
    "model": "model",
    "recorded": "recorded",
    "recorded_known_webcam": "recorded, known webcam",
}
VOTES = {
    "stars": ("rating in stars", "ratings in stars"),
    "no_sunset": ("N (no sunset: one star)", "N (no sunset: one star each)"),
    "gold": ("gold label", "gold labels"),
    "gold_no_sunset": ("gold label N (one star)", "gold labels N (one star each)"),
}
SPLITS = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Card:
    """One row as the page shows it: plain text, not yet escaped."""

    row: ReportRow
    is_listed: bool
    position: int | None
    answered: str | None
    asked_again: str | None
    picture: str | None
    title: str
    date: str
    phase: str
    origin: str
    direction: str
    source: str
    link: str | None
    votes: str
    made_of: str
    judges: tuple[str, ...]


def render_gallery(
    document: DisagreementDocument,
    *,
    queued: Sequence[ReportRow],
    asked: AskedBefore,
    pictures: Mapping[int, bytes],
) -> str:
    """Make the page.

    Args:
        document: The report.
        queued: The rows of the relabel queue, in its order.
        asked: What earlier reports asked for.
        pictures: JPEG files by snapshot_id; rows without one are shown as such.

    Returns:
        HTML that loads nothing from anywhere.
    """
    positions = {row.snapshot_id: number for number, row in enumerate(queued, start=1)}
    cards = [
        _card(row, pictures, positions.get(row.snapshot_id), asked, document.counts.listed)
        for row in gallery_rows(document.worst, queued)
    ]
    return render_page(
        "webcam_ml.disagreement",
        "gallery",
        document=document,
        is_audit=not RECORDED_KINDS.isdisjoint(document.counts.prediction_kinds),
        cards=cards,
        listed=sum(card.is_listed for card in cards),
        queued=len(queued),
        answered=sum(card.answered is not None for card in cards),
        origins=sorted({card.origin for card in cards}),
        phases=sorted({card.phase for card in cards}),
        groups=_summary_tables(document),
    )


def gallery_rows(worst: Sequence[ReportRow], queued: Sequence[ReportRow]) -> list[ReportRow]:
    """Put the rows that have a card in order: the first of the list, then the rest of the queue."""
    listed = worst[:LARGEST_GALLERY]
    there = {row.snapshot_id for row in listed}
    return [*listed, *(row for row in queued if row.snapshot_id not in there)]


def _card(
    row: ReportRow,
    pictures: Mapping[int, bytes],
    position: int | None,
    asked: AskedBefore,
    listed: int,
) -> Card:
    picture = pictures.get(row.snapshot_id)
    answered = asked.answered.get(row.snapshot_id)
    source = without_password(row.image_path_or_url or "")
    return Card(
        row=row,
        is_listed=row.rank <= min(listed, LARGEST_GALLERY),
        position=position,
        answered=None if answered is None else f"{answered:%Y-%m-%d}",
        asked_again=asked.asked_again.get(row.snapshot_id),
        picture=None if picture is None else data_uri(picture),
        title=shortened(row.webcam_title or f"Webcam {row.webcam_id}"),
        date=shown_date(row.captured_at),
        phase=shortened(row.phase or "unknown phase"),
        origin=f"{SPLITS[row.split]} · {KINDS[row.prediction_kind]}",
        direction=DIRECTIONS[row.direction],
        source=shortened(source),
        link=source if is_web_address(source) else None,
        votes=_votes(row),
        made_of=_made_of(row.said),
        judges=tuple(_judge(one) for one in row.said.judges) if row.said else (),
    )


def _summary_tables(document: DisagreementDocument) -> list[tuple[str, list[Group]]]:
    summary = document.summary
    stars = [
        group.model_copy(update={"group": f"{group.group} star{'s' * (group.group != '1')}"})
        for group in summary.star
    ]
    return [
        ("All", [summary.all.model_copy(update={"group": "all pictures"})]),
        ("By phase", summary.phase),
        ("By split", summary.split),
        ("By people’s rating", stars),
    ]


def _votes(row: ReportRow) -> str:
    counts = {star: getattr(row, f"stars_{star}") for star in reversed(STARS)}
    return ", ".join(f"{count} × {star} ★" for star, count in counts.items() if count) or "none"


def _made_of(said: Said | None) -> str:
    """Say which votes people's label is made of; empty where only stars can be among them."""
    votes = {} if said is None else said.votes
    return ", ".join(
        f"{votes[kind]} {one if votes[kind] == 1 else many}"
        for kind, (one, many) in VOTES.items()
        if kind in votes
    )


def _judge(said: JudgeSaid) -> str:
    text = f"{shortened(said.judge)}: {said.score:g}"
    if said.stars is not None:
        text += f" means {said.stars:.1f} ★"
    return text if said.speaks else f"{text}, does not speak"
