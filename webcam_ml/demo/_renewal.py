"""What the application does when somebody votes: it renews the snapshot's cached average."""

import sqlalchemy as sa

from webcam_ml.demo._schema import MARK, RATINGS, SNAPSHOTS


def is_demo_file(connection: sa.Connection) -> bool:
    """Whether this is a demo in a file of SQLite, beside which there is no application."""
    return connection.dialect.name == "sqlite" and sa.inspect(connection).has_table(MARK.name)


def renew_average(connection: sa.Connection, snapshot_id: int) -> None:
    """Set the cached average of a snapshot to that of its ratings; NULL where it has none."""
    average = (
        sa.select(sa.func.round(sa.func.avg(RATINGS.c.rating), 2))
        .where(RATINGS.c.snapshot_id == snapshot_id)
        .scalar_subquery()
    )
    connection.execute(
        sa.update(SNAPSHOTS).where(SNAPSHOTS.c.id == snapshot_id).values(calculated_rating=average)
    )
