"""Errors of a driver, a server or a pooler: part of the message, and the advice for each.

Errors are recognised by part of their message, since most have no code of their own. The first
entry that fits is used, so particular entries stand before general ones.
"""

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import psycopg2
from sqlalchemy.exc import DBAPIError

ENVIRONMENT_VARIABLE = "DATABASE_URL"

# `_stream` uses the driver's own cursor, so its errors arrive without SQLAlchemy's wrapper too.
DRIVER_ERRORS = (DBAPIError, psycopg2.Error, sqlite3.Error)

CANNOT_OPEN = "unable to open database file"
READ_ONLY = "readonly database"
ROW_SECURITY = "row-level security policy"

# Byte 18 of an SQLite file says how it is written; 2 means with a write-ahead log.
SQLITE_WRITE_VERSION, WRITE_AHEAD_LOG = 18, 2

NO_ROUTE = (
    "This machine has no way to that address. If it is an IPv6 address (it has colons), the host may "
    "have no other: take the address of the provider's pooler, which has IPv4, or give this machine "
    "IPv6. Otherwise look for a network, VPN or firewall in between."
)
TOO_MANY = (
    "All connections of the server or its pooler are taken: try again when others have ended, close "
    "what is left open, raise max_connections, or use the pooler's port for transactions."
)
NOT_YET = "It starts, stops or recovers: run it again in a minute."
POOLER_OPTIONS = (
    f"There is a pooler at that address, and it passes on no options: take what follows options= out "
    f"of {ENVIRONMENT_VARIABLE} and set it for the user instead (ALTER ROLE … SET search_path = …, "
    "statement_timeout = …), or use the address of the database itself (unpooled; another host or "
    "port, often 5432)."
)
ENCRYPTED = (
    f"Check what {ENVIRONMENT_VARIABLE} says after the ?: sslmode=require asks for encryption, "
    "sslmode=verify-full also for a certificate that sslrootcert= must let it check (sslrootcert="
    "system takes the machine's own)."
)

NO_TENANT = (
    "The pooler knows no such project: its user name has the project in it, like "
    f"postgres.PROJECT, and its host the region. Copy both into {ENVIRONMENT_VARIABLE} anew."
)
WRONG_PASSWORD = (
    f"Check user and password in {ENVIRONMENT_VARIABLE}; characters such as @ : / # in them "
    "must be percent-encoded (@ as %40)."
)
WRONG_NAME = f"Check the names of database and user in {ENVIRONMENT_VARIABLE}."

CONNECTION_ADVICE: Mapping[str, str] = {
    "Tenant or user not found": NO_TENANT,
    "tenant/user": NO_TENANT,
    "Endpoint ID is not specified": (
        "The provider keeps many databases at one address and was not told which: give the host by its "
        "full name, and psycopg2 with libpq 14 or newer sends that; with an older one, add "
        f"?options=endpoint%3DENDPOINT (the first part of the host) to {ENVIRONMENT_VARIABLE}."
    ),
    "quota": (
        "The provider has stopped the database because what the plan includes is used up: wait for the "
        "next period, or raise the plan."
    ),
    "server login has been failing": (
        "The pooler cannot log in to the database behind it: that may be down or restarting, or the "
        "password has changed there and not in the pooler. Try again in a minute, then look there."
    ),
    "unsupported startup parameter": POOLER_OPTIONS,
    "too many clients": TOO_MANY,
    "too many connections": TOO_MANY,
    "connection slots are reserved": TOO_MANY,
    "max clients reached": TOO_MANY,
    "Max client connections reached": TOO_MANY,
    "query_wait_timeout": TOO_MANY,
    "MaxClientsInSessionMode": TOO_MANY,
    "no more connections allowed": TOO_MANY,
    "starting up": NOT_YET,
    "shutting down": NOT_YET,
    "recovery mode": NOT_YET,
    "not yet accepting connections": NOT_YET,
    "not accepting connections": NOT_YET,
    "Network is unreachable": NO_ROUTE,
    "No route to host": NO_ROUTE,
    "Cannot assign requested address": NO_ROUTE,
    "Address family not supported": NO_ROUTE,
    "No address associated with hostname": NO_ROUTE,
    "password authentication failed": WRONG_PASSWORD,
    "SASL authentication failed": WRONG_PASSWORD,
    "no password supplied": f"Add the password to {ENVIRONMENT_VARIABLE}: user:password@host.",
    "certificate": ENCRYPTED,
    "does not support SSL": ENCRYPTED,
    "SSL connection is required": ENCRYPTED,
    "no encryption": ENCRYPTED,
    "no pg_hba.conf entry": (
        "The server lets this user into this database only from elsewhere: add this machine to its "
        "pg_hba.conf, or to the addresses that its provider permits."
    ),
    "not currently accepting connections": (
        f"The server keeps everybody out of this database: check its name in {ENVIRONMENT_VARIABLE}."
    ),
    "permission denied for database": "Grant the user of the URL CONNECT on the database.",
    "is not permitted to log in": (
        f"ALTER ROLE … LOGIN, or name a user that may log in in {ENVIRONMENT_VARIABLE}."
    ),
    "does not exist": WRONG_NAME,
    "no such database": WRONG_NAME,
    "no such user": WRONG_NAME,
    "could not translate host name": (
        f"Check the host in {ENVIRONMENT_VARIABLE}. A host that has IPv6 addresses only is not found "
        "by a machine without IPv6: take the address of the provider's pooler then."
    ),
    "Connection refused": (
        f"Is the server running there? Check host and port in {ENVIRONMENT_VARIABLE}; a pooler "
        "listens on a port of its own (6432, 6543)."
    ),
    "No such file or directory": (
        f"Is the server running? Check the host in {ENVIRONMENT_VARIABLE}; without one, a local "
        "socket is tried."
    ),
    "timeout expired": (
        f"The host does not answer. Check host and port in {ENVIRONMENT_VARIABLE}, and firewalls."
    ),
    "timed out": (
        f"The host does not answer. Check host and port in {ENVIRONMENT_VARIABLE}, and firewalls."
    ),
    "invalid response to SSL negotiation": (
        f"Something else than PostgreSQL answers there: check the port in {ENVIRONMENT_VARIABLE}."
    ),
    "server closed the connection unexpectedly": (
        f"Check the port in {ENVIRONMENT_VARIABLE}, and whether the server wants sslmode=require."
    ),
    "invalid connection option": f"Check what follows the ? in {ENVIRONMENT_VARIABLE}.",
}

LOCKED = "Another program is writing to it; run it again when that is done."
TYPES_DO_NOT_FIT = (
    "Columns that belong together have types that do not fit: ids are integers in all tables. ALTER "
    "TABLE … ALTER COLUMN … TYPE integer, or let a view convert them."
)
BAD_CAST = (
    "A view reads a value as something that it is not: mend the value, or the view that reads it."
)
READ_ADVICE: Mapping[str, str] = {
    "statement timeout": (
        "The server gave up on the statement, not webcam-ml: raise statement_timeout for the user of "
        f"the URL (?options=-cstatement_timeout%3D10min at the end of {ENVIRONMENT_VARIABLE} or, where "
        "a pooler refuses options, ALTER ROLE … SET statement_timeout = '10min'), or run it again when "
        "the database is less busy."
    ),
    "permission denied": (
        "Grant the user of the URL SELECT on that table: deploy/postgres/label_reader.sql is a role with all "
        "that is read."
    ),
    "file is not a database": f"Check the path in {ENVIRONMENT_VARIABLE}.",
    "malformed": (
        "The file is damaged: restore it from a backup, or save what can be read with "
        "sqlite3 FILE .recover | sqlite3 NEW and name the new one."
    ),
    "UTF-8": "Write the text anew as UTF-8: a program with another encoding has stored it.",
    "invalid byte sequence": "Write the text anew as UTF-8: a program with another encoding stored it.",
    READ_ONLY: (
        "A program that was writing was cut off, and what it left must be played back by one that may "
        "write: open the file once with sqlite3 or the application, then run it again."
    ),
    "disk I/O error": "The disk, or the network drive that the file lies on, fails: copy the file.",
    "no such function": (
        "A view needs a function that only the application's SQLite has: make a table of what the view "
        "gives, or a view without it."
    ),
    "no such module": (
        "A table needs an extension that only the application's SQLite has: copy what it gives into a "
        "plain table."
    ),
    "operator does not exist": TYPES_DO_NOT_FIT,
    "cannot be matched": TYPES_DO_NOT_FIT,
    "equality operator": TYPES_DO_NOT_FIT,
    "invalid input syntax": BAD_CAST,
    "out of range": BAD_CAST,
    "cannot cast": BAD_CAST,
    "cannot be cast": BAD_CAST,
    "division by zero": BAD_CAST,
    "database is locked": LOCKED,
}
SNAPSHOT_DELETED = (
    "A snapshot was deleted since its label was read: materialize labels_raw and what follows from it "
    "again."
)
WRITE_ADVICE: Mapping[str, str] = {
    "permission denied for sequence": (
        "The table numbers its rows by a sequence of its own: grant the user of the URL USAGE on it."
    ),
    "permission denied": (
        "Grant the user of the URL what writing there needs: deploy/postgres/label_recorder.sql for "
        "scores, deploy/postgres/label_rater.sql for votes."
    ),
    ROW_SECURITY: (
        "A policy of that table keeps the user of the URL from writing: CREATE POLICY … FOR ALL TO that "
        "user, or ALTER ROLE … BYPASSRLS."
    ),
    READ_ONLY: "Make the file and its folder writable.",
    "read-only transaction": f"{ENVIRONMENT_VARIABLE} names a read-only copy: name the original.",
    "foreign key": SNAPSHOT_DELETED,
    "FOREIGN KEY": SNAPSHOT_DELETED,
    "ON CONFLICT": (
        "The table lacks the UNIQUE by which a second writing finds the first: (snapshot_id, "
        "model_version) of scores, (snapshot_id, user_session_id) of votes, (source, image_id) of gold."
    ),
    "malformed": READ_ADVICE["malformed"],
    "database is locked": LOCKED,
}


def driver_said(error: Exception) -> str:
    """Give what a driver reports, on one line, each sentence once, without the statement.

    libpq tries each address of a host, encrypted and plain, and repeats the same error for each.
    """
    cause: object = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        cause = error.orig
    if isinstance(cause, psycopg2.Error) and cause.diag.message_primary:
        parts = [cause.diag.message_primary, cause.diag.message_detail]
        lines = [part for part in parts if part]
    else:
        lines = str(cause).splitlines()
    told: dict[str, str] = {}
    for line in lines:
        sentence = " ".join(line.split())
        told.setdefault(sentence.rpartition(" failed: ")[2], sentence)
    return " ".join(filter(None, told.values())).rstrip(". ") or type(cause).__name__


def is_about_the_connection(error: Exception) -> bool:
    """Whether the server is gone or too busy, so that the same may succeed another time."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, psycopg2.OperationalError | psycopg2.InterfaceError)


def connection_advice(said: str) -> str:
    """Say what to do about a connection that fails."""
    return _advice(said, CONNECTION_ADVICE, otherwise=f"Check {ENVIRONMENT_VARIABLE}.")


def read_advice(said: str, *, lost: bool, role: str) -> str:
    """Say what to do about a statement that fails.

    Args:
        said: What the driver said.
        lost: Whether the connection is the cause.
        role: Who read, if row-level security is the cause.
    """
    if ROW_SECURITY in said:
        return (
            f"Row-level security hides rows of that table from the role {role}, and labels that are "
            "hidden would be missing without a word. Read as the owner of the table or as a role with "
            f"ALTER ROLE {role} BYPASSRLS, or let a view of the owner, on the search path before the "
            "table, show the rows that count."
        )
    return _advice(said, READ_ADVICE, otherwise=_whether_to_try_again(lost))


def write_advice(said: str, *, lost: bool) -> str:
    """Say what to do about a row that is refused."""
    return _advice(said, WRITE_ADVICE, otherwise=_whether_to_try_again(lost))


def is_written_ahead(path: Path) -> bool:
    """Whether an SQLite file is in WAL mode, in which even readers write files beside it."""
    with path.open("rb") as file:
        header = file.read(SQLITE_WRITE_VERSION + 1)
    return header[SQLITE_WRITE_VERSION:] == bytes([WRITE_AHEAD_LOG])


def sqlite_file_advice(path: Path) -> str:
    """Say why SQLite cannot open a file that is there."""
    if not os.access(path, os.R_OK):
        return "The user who runs webcam-ml may not read the file: change its mode or its owner."
    if is_written_ahead(path):
        return (
            "The file is in WAL mode, in which even a reader needs the files -wal and -shm beside it, "
            f"and the folder {path.parent} may not be written: make it writable, copy the file with its "
            "-wal to where you may write, or end WAL with PRAGMA journal_mode = DELETE."
        )
    return f"Check {ENVIRONMENT_VARIABLE}, and who may read the file and enter its folder."


def _whether_to_try_again(lost: bool) -> str:
    if lost:
        return "Run it again when the database is up."
    return "That is in the database, not in the way to it: running it again changes nothing."


def _advice(said: str, known: Mapping[str, str], *, otherwise: str) -> str:
    """Return what to do about the first known symptom in the driver's words."""
    return next((advice for symptom, advice in known.items() if symptom in said), otherwise)
