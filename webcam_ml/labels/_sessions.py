"""Whether the `curator_sessions` of a query rated anything."""

import logging
from collections.abc import Sequence

import sqlalchemy as sa

from webcam_ml.labels._database import LabelDatabase
from webcam_ml.labels._enough import TooFewLabelsError
from webcam_ml.labels._query import LabelQuery
from webcam_ml.labels._tables import RATINGS

logger = logging.getLogger(__name__)

# How an error shows other people's session ids: a few of them, cut short.
SESSIONS_SHOWN = 5
SESSION_CHARACTERS = 12


def require_known_sessions(
    connection: sa.Connection, query: LabelQuery, *, database: LabelDatabase
) -> None:
    """Refuse curator_sessions that match nobody, and warn of single ones that do not.

    Args:
        connection: Inside the transaction in which labels are read.
        query: Which ratings count.
        database: What is read.

    Raises:
        TooFewLabelsError: None of the sessions rated anything; the message names the busiest.
    """
    if not query.curator_sessions:
        return
    session = RATINGS.c.user_session_id
    by_session = (
        sa.select(session, sa.func.count())
        .where(RATINGS.c.rating.is_not(None))
        .group_by(session)
        .order_by(sa.func.count().desc(), session)
    )
    found = connection.scalars(by_session.where(session.in_(query.curator_sessions))).all()
    unknown = [name for name in query.curator_sessions if name not in found]
    if not unknown:
        return
    if found:
        logger.warning(
            "curator_sessions: %d of %d rated nothing in %s: %s",
            len(unknown),
            len(query.curator_sessions),
            database,
            _names(unknown),
        )
        return
    everybody = sa.select(sa.func.count()).select_from(by_session.order_by(None).subquery())
    sessions = connection.execute(everybody).scalar_one()
    if sessions == 0:
        return  # Nobody rated at all: that is said when the labels are counted.
    busiest = connection.execute(by_session.limit(SESSIONS_SHOWN)).all()
    shown = ", ".join(f"{_shortened(str(name))} ({count:,} ratings)" for name, count in busiest)
    raise TooFewLabelsError(
        f"curator_sessions match nobody in {database}: no rating by {_names(unknown)}. Of the "
        f"{sessions:,} sessions that rated, the busiest: {shown}. Correct curator_sessions, or "
        "leave it empty to count everybody's ratings."
    )


def _names(sessions: Sequence[str]) -> str:
    shown = [_shortened(name) for name in sessions[:SESSIONS_SHOWN]]
    if more := len(sessions) - len(shown):
        shown.append(f"{more:,} more")
    return ", ".join(shown)


def _shortened(session: str) -> str:
    if len(session) <= SESSION_CHARACTERS:
        return repr(session)
    return repr(session[:SESSION_CHARACTERS] + "…")
