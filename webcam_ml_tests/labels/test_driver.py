"""What drivers, servers and poolers say, and what to do about each."""

import socket
import sqlite3
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from webcam_ml.labels import LabelDatabase, LabelDatabaseError, LabelQuery, read_labels
from webcam_ml.labels._driver import connection_advice, driver_said, sqlite_file_advice
from webcam_ml.printable import printable
from webcam_ml_tests.label_schema import plain_rows
from webcam_ml_tests.labels.conftest import Store
from webcam_ml_tests.postgres import PostgresServer

# Not to be imported: it takes root's capabilities from the process that runs it.
CAPABILITIES = Path(__file__).parents[1] / "faults" / "capabilities.py"
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
        (AT + "FATAL:  (ENOTFOUND) tenant/user postgres.abc not found", "postgres.PROJECT"),
        (AT + "FATAL:  Max client connections reached", "are taken"),
        (AT + "FATAL:  query_wait_timeout", "are taken"),
        (AT + "FATAL:  the database system is not accepting connections", "in a minute"),
        (AT + 'FATAL:  database "a" is not currently accepting connections', "keeps everybody out"),
        (AT + "FATAL:  no such database: sunst", "Check the names"),
        (AT + "FATAL:  no such user: ada", "Check the names"),
        (AT + "FATAL:  SASL authentication failed", "%40"),
        (AT + "FATAL:  server login has been failing, try again later", "behind it"),
        (AT + "ERROR:  Endpoint ID is not specified. Either please upgrade", "options=endpoint"),
        (AT + "ERROR:  Your project has exceeded the compute time quota. Upgrade", "the plan"),
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
    assert "WAL mode" in sqlite_file_advice(path)
    tmp_path.chmod(0o500)
    try:
        # In a process of its own, which gives up root's way around permissions.
        said = subprocess.run(
            [sys.executable, "-c", READ_AS_ANYBODY, f"sqlite:///{path}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    finally:
        tmp_path.chmod(0o700)
    assert f"SQLite database {path}" in said
    assert "WAL mode" in said
    assert f"the folder {tmp_path} may not be written" in said
    assert "when the database is up" not in said


READ_AS_ANYBODY = f"""
import runpy, sys
runpy.run_path({str(CAPABILITIES)!r})
from webcam_ml.labels import LabelDatabase, LabelDatabaseError, LabelQuery, read_labels
try:
    read_labels(LabelDatabase(sys.argv[1]), LabelQuery())
except LabelDatabaseError as error:
    print(error)
"""


@contextmanager
def answering(code: str, message: str) -> Iterator[str]:
    """A server that speaks PostgreSQL's protocol as far as to refuse; gives the URL."""
    fields = {"S": "FATAL", "V": "FATAL", "C": code, "M": message}
    told = b"".join(key.encode() + text.encode() + b"\0" for key, text in fields.items()) + b"\0"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    while asked := connection.recv(4096):
                        (request,) = struct.unpack(">I", asked[4:8])
                        if request in (80877103, 80877104):  # encryption, which it has not
                            connection.sendall(b"N")
                            continue
                        connection.sendall(b"E" + struct.pack(">I", len(told) + 4) + told)
                        break

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"postgresql://ada:secret@127.0.0.1:{server.getsockname()[1]}/webcams"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("code", "message", "advice"),
    [
        ("57P03", "the database system is starting up", "run it again in a minute"),
        ("53300", "sorry, too many clients already", "All connections of the server"),
        ("XX000", "Tenant or user not found", "postgres.PROJECT"),
        ("08P01", "unsupported startup parameter: options", "ALTER ROLE"),
        ("08P01", "unsupported startup parameter in options: search_path", "ALTER ROLE"),
    ],
)
def test_what_a_server_or_a_pooler_refuses_with_arrives_with_its_way_out(
    code: str, message: str, advice: str
) -> None:
    with answering(code, message) as url:
        said = refusal(f"{url}?options=-csearch_path%3Dapp")
    assert said.startswith('Cannot open PostgreSQL database "webcams"')
    assert said.count(message) == 1
    assert advice in said
    assert "Check DATABASE_URL." not in said
    assert "secret" not in said


def test_a_real_server_without_a_free_connection_is_told(postgres_server: PostgresServer) -> None:
    with postgres_server.login("crowded", "one at a time"):
        postgres_server.execute("ALTER ROLE crowded CONNECTION LIMIT 0")
        said = refusal(postgres_server.url("postgres", user="crowded", password="one at a time"))
    assert "too many connections for role" in said
    assert "All connections of the server" in said


def test_an_address_without_a_way_to_it_is_told() -> None:
    """Of IPv6 only, as some providers' hosts are; 2001:db8:: is nobody's."""
    said = refusal("postgresql://ada@[2001:db8::1]:5432/webcams?connect_timeout=2")
    assert "2001:db8::1" in said
    assert "IPv6" in said or "does not answer" in said  # a machine with IPv6 may wait in vain


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
