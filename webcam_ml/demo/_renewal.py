"""What the application does when somebody votes: it renews the snapshot's cached average.

A demo has no application beside it, so its database does that itself, by triggers. What was drawn stays:
an average that is stale stays so until somebody votes on its snapshot.
"""

from collections.abc import Iterator

import sqlalchemy as sa

from webcam_ml.demo._schema import RATINGS, SNAPSHOTS

NAME = "webcam_ml_demo_renewal"
EVENTS = ("INSERT", "UPDATE", "DELETE")
RENEW = (
    f"UPDATE {SNAPSHOTS.name} SET calculated_rating = (SELECT ROUND(AVG(rating), 2) "
    f"FROM {RATINGS.name} WHERE snapshot_id = {SNAPSHOTS.name}.id) WHERE id IN "
)
# The voter needs no right to the snapshots themselves.
POSTGRESQL_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {NAME}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    {RENEW}(NEW.snapshot_id, OLD.snapshot_id);
    RETURN NULL;
END $$
"""


def stop_renewal(connection: sa.Connection) -> None:
    """Let rating rows be stored without an effect on the averages, as those of drawn votes are."""
    for event in EVENTS:
        of_table = f" ON {RATINGS.name}" if connection.dialect.name == "postgresql" else ""
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {NAME}_{event.lower()}{of_table}")


def start_renewal(connection: sa.Connection) -> None:
    """Let each vote from now on renew the average of its snapshot, which no vote leaves empty."""
    is_postgresql = connection.dialect.name == "postgresql"
    for statement in _of_postgresql() if is_postgresql else _of_sqlite():
        connection.exec_driver_sql(statement)


def _of_postgresql() -> Iterator[str]:
    yield POSTGRESQL_FUNCTION
    for event in EVENTS:
        yield (
            f"CREATE TRIGGER {NAME}_{event.lower()} AFTER {event} ON {RATINGS.name} "
            f"FOR EACH ROW EXECUTE FUNCTION {NAME}()"
        )


def _of_sqlite() -> Iterator[str]:
    rows = {"INSERT": "NEW.snapshot_id", "DELETE": "OLD.snapshot_id"}
    for event in EVENTS:
        touched = rows.get(event, ", ".join(rows.values()))
        yield (
            f"CREATE TRIGGER {NAME}_{event.lower()} AFTER {event} ON {RATINGS.name} "
            f"BEGIN {RENEW}({touched}); END"
        )
