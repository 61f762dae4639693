"""What drivers, servers and poolers say, and what to do about each."""

import os
import sqlite3
from pathlib import Path

import pytest

from webcam_ml.labels import LabelDatabase, LabelDatabaseError, LabelQuery, read_labels
from webcam_ml.labels._driver import connection_advice, driver_said, sqlite_file_advice
from webcam_ml.printable import printable
from webcam_ml_tests.label_schema import plain_rows
from webcam_ml_tests.labels.conftest import Store

AT = 'connection to server at "db.example" (2a05:d014::1), port 5432 failed: '


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        (AT + "Network is unreachable", "address of the provider's pooler, which has IPv4"),
        (AT + "Cannot assign requested address", "IPv6"),
        ('could not translate host name "db.example" to address: No address associated', "IPv6"),
        (AT + "FATAL:  sorry, too many clients already", "max_connections"),
        (AT + "FATAL:  remaining connection slots are reserved for roles with SUPER", "are taken"),
        (AT + "FATAL:  MaxClientsInSessionMode: max clients reached", "are taken"),
        (AT + "FATAL:  the database system is starting up", "in a minute"),
        (AT + "FATAL:  the database system is in recovery mode", "in a minute"),
        (AT + "FATAL:  Tenant or user not found", "postgres.PROJECT"),
        (AT + "ERROR:  unsupported startup parameter: options", "ALTER ROLE"),
        (AT + "ERROR:  unsupported startup parameter in options: search_path", "unpooled"),
        (AT + 'root certificate file "/r/.postgresql/root.crt" does not exist', "sslrootcert"),
        (AT + 'FATAL:  no pg_hba.conf entry for host "::1", user "a", no encryption', "sslmode"),
        (AT + 'FATAL:  no pg_hba.conf entry for host "::1", user "a", SSL on', "add this machine"),
        (AT + 'FATAL:  database "sunst" does not exist', "Check the names"),
        (AT + "Connection refused", "Is the server running there"),
        (AT + "Connection timed out", "does not answer"),
        ("something nobody has seen", "Check DATABASE_URL."),
    ],
)
def test_each_failure_to_connect_has_its_own_way_out(said: str, advice: str) -> None:
    assert advice in connection_advice(said)


def test_a_sentence_that_libpq_says_of_every_address_is_told_once() -> None:
    why = 'FATAL:  password authentication failed for user "ada"'
    line = 'connection to server at "localhost" ({}), port 5432 failed: ' + why
    said = driver_said(Exception("\n".join(line.format(a) for a in ("::1", "127.0.0.1")) + "\n"))
    assert said.count("password authentication failed") == 1
    assert "(::1)" in said


def refusal(url: str) -> str:
    with pytest.raises(LabelDatabaseError) as caught:
        read_labels(LabelDatabase(url), LabelQuery())
    assert "when the database is up" not in str(caught.value)
    return str(caught.value)


def test_a_statement_that_fails_is_not_shown_and_no_outage(postgres: Store) -> None:
    postgres.insert(plain_rows())
    postgres.execute(
        "ALTER TABLE webcam_snapshot_ratings RENAME TO votes",
        "CREATE VIEW webcam_snapshot_ratings AS SELECT snapshot_id, user_session_id,"
        " (user_session_id::int) AS rating FROM votes",
    )
    said = refusal(postgres.url)
    assert 'invalid input syntax for type integer: "curator-1"' in said
    assert "mend the value, or the view" in said
    assert "SELECT" not in said


def test_ids_of_types_that_do_not_fit_are_told(postgres: Store) -> None:
    postgres.insert(plain_rows())
    postgres.execute(
        "ALTER TABLE webcam_snapshot_ratings DROP CONSTRAINT webcam_snapshot_ratings_snapshot_id_fkey",
        "ALTER TABLE webcam_snapshot_ratings ALTER snapshot_id TYPE text",
    )
    assert "ids are integers in all tables" in refusal(postgres.url)


def test_a_damaged_file_is_told(sqlite: Store, tmp_path: Path) -> None:
    sqlite.insert(plain_rows(n_webcams=40, frames_per_webcam=30))
    path = tmp_path / "labels.db"
    content = bytearray(path.read_bytes())
    content[4096:] = bytes(byte ^ 0x55 for byte in content[4096:])
    path.write_bytes(content)
    assert ".recover" in refusal(sqlite.url)


def test_a_write_ahead_log_in_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE webcams (id)")
    connection.close()
    advice = sqlite_file_advice(path)
    assert "WAL mode" in advice
    assert str(tmp_path) in advice
    if os.geteuid() == 0:
        return  # whom no folder stops
    tmp_path.chmod(0o500)
    try:
        assert "WAL mode" in refusal(f"sqlite:///{path}")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zürich → 日没\u3000\u00a0", "Zürich → 日没\u3000\u00a0"),
        ("a\r\nb\tc\0", r"a\r\nb\tc\x00"),
        ("\x1b[2J\x9b2J", r"\x1b[2J\x9b2J"),
        ("gpj.\u202eelif", r"gpj.\u202eelif"),
        ("\ud800", r"\ud800"),
    ],
)
def test_control_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown
