"""A server on PostgreSQL as docs/operation.md describes it, and every way in which it may be cut off.

Instance and labels lie in a real PostgreSQL, the services are the commands of deploy/systemd, the
role may only read. What is in the middle of a run is held there by the lock on trainings.
"""

import json
import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
import yaml

from webcam_ml.scoring import Scorer
from webcam_ml.training import training_turn
from webcam_ml_tests.integration.project import REPOSITORY, copy_database, shared_demo
from webcam_ml_tests.integration.server import Run, Server, Tick, wait_for
from webcam_ml_tests.label_schema import create_schema
from webcam_ml_tests.postgres import PostgresServer, running_server

pytestmark = pytest.mark.deployed

# A network and a size at which the drawn webcams can be told apart, and no larger.
RETRAIN = {
    "ops": {
        "checkpoint": {"config": {"model_name": "resnet18", "weights": "none", "image_size": 112}},
        "eval_report": {"config": {"bootstrap_samples": 200}},
        # A few labels more are no better model; what the gate says to that is not the matter here.
        "champion_comparison": {
            "config": {"max_auc_loss": 0.3, "relaxed_because": "a test of the instance"}
        },
    }
}
READER, PASSWORD = "webcam_ml_reader", "only for reading"
RATED_AT_A_TIME = 25
# Hours beyond which deploy/postgres/dagster.yaml lets no run go on.
LIMIT = "6 hours"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that this module may restart."""
    with running_server() as server:
        yield server


class People:
    """Those who rate: most snapshots at first, and some more whenever they are asked."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url, poolclass=sa.NullPool)
        later = sa.text(
            "SELECT id, calculated_rating FROM webcam_snapshots "
            "WHERE calculated_rating IS NOT NULL AND id % 5 = 0 ORDER BY id"
        )
        # The rows came with their numbers; the application counts on after them.
        count_on = (
            "SELECT setval('webcam_snapshot_ratings_id_seq', "
            "(SELECT max(id) FROM webcam_snapshot_ratings))"
        )
        with self._engine.begin() as connection:
            self._later = [
                (row.id, round(row.calculated_rating)) for row in connection.execute(later)
            ]
            for statement in (
                "UPDATE webcam_snapshots SET calculated_rating = NULL WHERE id % 5 = 0",
                "DELETE FROM webcam_snapshot_ratings WHERE snapshot_id % 5 = 0",
                count_on,
            ):
                connection.execute(sa.text(statement))

    def rate_more(self) -> int:
        """Rate some more snapshots, in the way in which the application stores it."""
        ratings = [
            {"snapshot": snapshot, "stars": stars}
            for snapshot, stars in (self._later.pop() for _ in range(RATED_AT_A_TIME))
        ]
        rate = (
            "INSERT INTO webcam_snapshot_ratings (snapshot_id, user_session_id, rating) "
            "VALUES (:snapshot, 'curator-1', :stars)"
        )
        average = "UPDATE webcam_snapshots SET calculated_rating = :stars WHERE id = :snapshot"
        with self._engine.begin() as connection:
            connection.execute(sa.text(rate), ratings)
            connection.execute(sa.text(average), ratings)
        return len(ratings)


@pytest.fixture(scope="module")
def people(postgres: PostgresServer) -> People:
    postgres.execute("CREATE DATABASE webcams")
    engine = sa.create_engine(postgres.url("webcams"))
    create_schema(engine)
    engine.dispose()
    copy_database(f"sqlite:///{shared_demo()}", postgres.url("webcams"))
    run_sql_file(postgres, "label_reader.sql")
    postgres.execute(
        f"ALTER ROLE {READER} PASSWORD '{PASSWORD}'", f"GRANT with_password TO {READER}"
    )
    return People(postgres.url("webcams"))


def run_sql_file(postgres: PostgresServer, name: str) -> None:
    text = (REPOSITORY / "deploy" / "postgres" / name).read_text()
    postgres.execute(text, database="webcams")


@pytest.fixture(scope="module")
def server(
    postgres: PostgresServer, people: People, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server on which the sensor made the first model, which is live."""
    folder = tmp_path_factory.mktemp("server")
    postgres.execute("CREATE DATABASE dagster")
    retrain = folder / "retrain.yaml"
    retrain.write_text(yaml.safe_dump(RETRAIN))
    server = Server(
        folder,
        instance_url=postgres.url("dagster"),
        database_url=postgres.url("webcams", user=READER, password=PASSWORD),
        environment={
            "WEBCAM_ML_RETRAIN_CONFIG": str(retrain),
            "WEBCAM_ML_RETRAIN_MIN_NEW_LABELS": "10",
            "WEBCAM_ML_RETRAIN_GROWTH_FRACTION": "0",
            "WEBCAM_ML_RETRAIN_MIN_INTERVAL_SECONDS": "0",
        },
    )
    try:
        server.start("code", "daemon", "web")
        server.turn_sensor_on()
        first = new_run(server, set())
        assert server.wait_for_end(first.id).status == "SUCCESS", server.messages(first.id)
        yield server
    finally:
        server.kill_all()


def new_run(server: Server, known: set[str]) -> Run:
    """The run that the sensor starts beside those that are known."""

    def look() -> Run | None:
        return next((run for run in server.runs() if run.id not in known), None)

    return wait_for("the sensor to start a run", look)


def known(server: Server) -> set[str]:
    return {run.id for run in server.runs()}


def ledger(server: Server) -> list[dict[str, object]]:
    path = server.store.root / "production" / "ledger.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def wait_until_held(server: Server, run: Run) -> None:
    """Wait until a run has come to checkpoint and waits there for its turn to train."""
    wait_for(
        "the run to wait for its turn",
        lambda: any("waiting for run the-test" in one for one in server.messages(run.id)),
    )


def quiet_tick(server: Server) -> Tick:
    """A tick that looked at the labels and found that nothing is to be done."""
    began = time.time()

    def look() -> Tick | None:
        for tick in server.ticks():
            if tick.timestamp > began and "new labels since" in tick.skip_reason:
                return tick
        return None

    return wait_for("a tick of the sensor", look)


def require_promoted_once(server: Server, run: Run, *, before: list[dict[str, object]]) -> None:
    """The run made a model live, in one line of the ledger, and nothing else is there."""
    after = ledger(server)
    assert after[: len(before)] == before
    (line,) = after[len(before) :]
    assert line["run_id"] == run.id
    assert not list(server.store.root.glob("*/.unfinished-*"))


def test_labels_grow_and_a_new_model_is_live_although_daemon_and_code_server_went_away(
    server: Server, people: People
) -> None:
    before, runs = ledger(server), known(server)
    with training_turn(server.store, run_id="the-test"):
        count = people.rate_more()
        run = new_run(server, runs)
        wait_until_held(server, run)
        server.kill("daemon")
        server.ask_to_stop("code")
    # Runs need no daemon, and a code server that is asked to stop waits for them.
    assert server.wait_for_end(run.id).status == "SUCCESS", server.messages(run.id)
    server.wait_until_stopped("code")
    assert f"{count} of 10 new labels" in run.tags["webcam_ml/reason"]
    require_promoted_once(server, run, before=before)

    link = server.store.root / "production" / "binary" / "model.onnx"
    picture = sorted((shared_demo().parent / "images").glob("*.jpg"))[0]
    score = Scorer("onnx", model_path=link).score(picture)
    assert score.model_version == ledger(server)[-1]["version"]
    assert score.model_version != before[-1]["version"]

    server.start("code", "daemon")
    quiet_tick(server)
    assert known(server) == runs | {run.id}
    require_promoted_once(server, run, before=before)


def test_a_retrain_that_was_killed_and_then_cut_off_by_a_power_failure_is_tried_again(
    server: Server, people: People, postgres: PostgresServer
) -> None:
    before, runs = ledger(server), known(server)
    with training_turn(server.store, run_id="the-test"):
        people.rate_more()
        first = new_run(server, runs)
        wait_until_held(server, first)
        server.kill_run_process()
        assert server.wait_for_end(first.id).status == "FAILURE"
        assert any("SIGKILL" in message for message in server.messages(first.id))

        second = new_run(server, runs | {first.id})
        assert second.tags["webcam_ml/attempt"] == "2"
        assert second.tags["webcam_ml/labels"] == first.tags["webcam_ml/labels"]
        wait_until_held(server, second)
        server.kill_all()

    server.start("code", "daemon", "web")
    # The locks in the store tell the sensor at once that nobody works for the run any more.
    third = server.wait_for_end(new_run(server, runs | {first.id, second.id}).id)
    assert third.status == "SUCCESS", server.messages(third.id)
    assert third.tags["webcam_ml/attempt"] == "3"
    require_promoted_once(server, third, before=before)

    # Dagster saw nobody die and calls the run started until its time is up: let it be up.
    assert server.run(second.id).status == "STARTED"
    postgres.execute(
        f"UPDATE runs SET start_time = start_time - extract(epoch FROM interval '{LIMIT}') "
        f"WHERE run_id = '{second.id}'",
        database="dagster",
    )
    assert server.wait_for_end(second.id).status == "FAILURE"
    assert any("exceeding maximum runtime" in message for message in server.messages(second.id))
    quiet_tick(server)
    require_promoted_once(server, third, before=before)


def test_the_role_of_the_server_may_read_labels_and_write_nothing(
    server: Server, postgres: PostgresServer
) -> None:
    engine = sa.create_engine(server.database_url, poolclass=sa.NullPool)
    for statement in (
        "UPDATE webcam_snapshots SET calculated_rating = 5",
        "DELETE FROM webcam_snapshot_ratings",
        "INSERT INTO snapshot_ai_inferences (snapshot_id, model_version) VALUES (1, 'x')",
        "CREATE TABLE mine (id int)",
    ):
        with (
            pytest.raises(sa.exc.ProgrammingError, match="permission denied"),
            engine.begin() as connection,
        ):
            connection.execute(sa.text(statement))
    try:
        run_sql_file(postgres, "label_recorder.sql")
        with engine.begin() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO snapshot_ai_inferences (snapshot_id, model_version) VALUES (1, 'x')"
                )
            )
            connection.execute(sa.text("UPDATE snapshot_ai_inferences SET model_version = 'y'"))
            connection.execute(sa.text("SELECT * FROM snapshot_ai_inferences"))
        with (
            pytest.raises(sa.exc.ProgrammingError, match="permission denied"),
            engine.begin() as connection,
        ):
            connection.execute(sa.text("DELETE FROM snapshot_ai_inferences"))
    finally:
        postgres.execute(
            f"REVOKE INSERT, UPDATE ON snapshot_ai_inferences FROM {READER}",
            "DELETE FROM snapshot_ai_inferences",
            database="webcams",
        )


def test_the_sensor_ticks_again_after_postgresql_was_away(
    server: Server, postgres: PostgresServer
) -> None:
    runs = known(server)
    written = server.log_file("daemon").stat().st_size
    postgres.stop()
    try:
        wait_for(
            "the daemon to notice",
            lambda: "database" in server.log("daemon")[written:] or not server.is_up("daemon"),
        )
    finally:
        postgres.start()
    if not server.is_up("daemon"):
        server.start("daemon")  # what systemd does: Restart=always
    wait_for("the page to come back", server.serves)
    quiet_tick(server)
    assert known(server) == runs
