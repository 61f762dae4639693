"""A server as docs/operation.md sets it up: code server, daemon and web page, each a real process."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import yaml

from webcam_ml.store import ArtifactStore
from webcam_ml_tests.integration.project import DAGSTER, REPOSITORY
from webcam_ml_tests.world import share_backbones

T = TypeVar("T")
DEPLOY = REPOSITORY / "deploy"
# For what takes seconds on an idle machine; a busy one may be many times slower.
SECONDS = 300
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
SENSOR = {
    "repositoryLocationName": "webcam_ml",
    "repositoryName": "__repository__",
    "sensorName": "label_growth_sensor",
}

# The clocks of deploy/postgres/dagster.yaml, for a test that will not wait for minutes.
SHORT_CLOCKS: dict[str, dict[str, object]] = {
    "run_monitoring": {"poll_interval_seconds": 1, "cancel_timeout_seconds": 5},
    "run_queue": {"user_code_failure_retry_delay": 1, "dequeue_interval_seconds": 1},
}


IMPATIENT_DEFINITIONS = """
from webcam_ml.orchestration.build import build_definitions

defs = build_definitions(seconds_between_ticks=1)
"""


@dataclass(frozen=True)
class Run:
    """What the page says of a run."""

    id: str
    status: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Tick:
    """What the page says of a tick of the sensor."""

    status: str
    timestamp: float
    skip_reason: str
    run_ids: tuple[str, ...]


class PageError(Exception):
    """The page answers a question with an error."""


def wait_for(what: str, look: Callable[[], T | None], *, seconds: float = SECONDS) -> T:
    """Look until there is something to see."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.3)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@dataclass
class Server:
    """The three processes of a server, their folder, and what a person does on the page."""

    folder: Path
    instance_url: str
    database_url: str
    environment: dict[str, str] = field(default_factory=dict)
    _processes: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ports = {"code": free_port(), "web": free_port()}
        self.home.mkdir(parents=True)
        share_backbones(self.folder / "cache")
        instance = yaml.safe_load((DEPLOY / "postgres" / "dagster.yaml").read_text())
        for section, clocks in SHORT_CLOCKS.items():
            instance[section] |= clocks
        (self.home / "dagster.yaml").write_text(yaml.safe_dump(instance))
        workspace = yaml.safe_load((DEPLOY / "postgres" / "workspace.yaml").read_text())
        workspace["load_from"][0]["grpc_server"]["port"] = self._ports["code"]
        (self.home / "workspace.yaml").write_text(yaml.safe_dump(workspace))
        (self.home / "impatient_definitions.py").write_text(IMPATIENT_DEFINITIONS)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.folder / "artifacts")

    def env(self) -> dict[str, str]:
        return (
            {
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("DAGSTER_", "WEBCAM_ML_", "AI_"))
            }
            | {
                "DAGSTER_HOME": str(self.home),
                "DAGSTER_POSTGRES_URL": self.instance_url,
                "DATABASE_URL": self.database_url,
                "PYTHONPATH": f"{self.home}{os.pathsep}{REPOSITORY}",
                "PYTHONWARNINGS": "ignore:::click.core",
                "WEBCAM_ML_ARTIFACTS": str(self.store.root),
                "WEBCAM_ML_CACHE": str(self.folder / "cache"),
            }
            | self.environment
        )

    def command(self, service: str) -> list[str]:
        """The command of a unit in deploy/systemd, with folders and ports of this test."""
        unit = (DEPLOY / "systemd" / f"webcam-ml-{service}.service").read_text()
        (line,) = re.findall(r"^ExecStart=(.*)$", unit, flags=re.MULTILINE)
        for installed, here in {
            "/opt/webcam-ml/.venv/bin/": f"{DAGSTER.parent}/",
            "/opt/webcam-ml/deploy/postgres/": f"{self.home}/",
            "webcam_ml.definitions": "impatient_definitions",
            "--port 4270": f"--port {self._ports['code']}",
            "--port 3000": f"--port {self._ports['web']}",
        }.items():
            line = line.replace(installed, here)
        return shlex.split(line)

    def start(self, *services: str) -> None:
        for service in services:
            with self.log_file(service).open("ab") as log:
                self._processes[service] = subprocess.Popen(
                    self.command(service),
                    cwd=self.home,
                    env=self.env(),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # A group of its own, as systemd makes one: it dies alone or as a whole.
                    start_new_session=True,
                )
        if "web" in self._processes:
            wait_for("the page to find the code server", self.serves)

    def kill(self, *services: str) -> None:
        """End services and all that they started, at once, as a power cut does."""
        for service in services:
            process = self._processes.pop(service)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def ask_to_stop(self, service: str) -> None:
        """What `systemctl stop` does first: it tells the service itself, and not its children."""
        self._processes[service].terminate()

    def wait_until_stopped(self, service: str) -> None:
        """Wait for a service that was asked to stop."""
        self._processes.pop(service).wait(SECONDS)

    def kill_all(self) -> None:
        self.kill(*self._processes)

    def is_up(self, service: str) -> bool:
        return self._processes[service].poll() is None

    def kill_run_process(self) -> None:
        """End the process of the one run that goes on: what the code server started for it."""
        server = psutil.Process(self._processes["code"].pid)
        (run,) = [child for child in server.children() if "spawn_main" in " ".join(child.cmdline())]
        run.kill()

    def log_file(self, service: str) -> Path:
        return self.home / f"{service}.log"

    def log(self, service: str) -> str:
        return self.log_file(service).read_text()

    def ask(self, query: str, **variables: object) -> Any:
        """Ask the web page what its own pages ask it."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._ports['web']}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = json.load(answer)
        if "errors" in content:
            raise PageError(content["errors"])
        (data,) = content["data"].values()
        return data

    def runs(self) -> list[Run]:
        """All runs, the newest first."""
        answer = self.ask(
            "{runsOrError {... on Runs {results {runId status jobName tags {key value}}}}}"
        )
        return [
            Run(one["runId"], one["status"], {tag["key"]: tag["value"] for tag in one["tags"]})
            for one in answer["results"]
        ]

    def run(self, run_id: str) -> Run:
        return next(run for run in self.runs() if run.id == run_id)

    def wait_for_end(self, run_id: str) -> Run:
        return wait_for(
            f"run {run_id} to end",
            lambda: run if (run := self.run(run_id)).status in ENDED else None,
        )

    def messages(self, run_id: str) -> list[str]:
        """What the page shows of a run."""
        answer = self.ask(
            "query($id: ID!) {logsForRun(runId: $id) {... on EventConnection {events "
            "{... on MessageEvent {message}}}}}",
            id=run_id,
        )
        return [event["message"] for event in answer["events"]]

    def turn_sensor_on(self) -> None:
        answer = self.ask(
            "mutation($sensor: SensorSelector!) {startSensor(sensorSelector: $sensor) "
            "{__typename ... on PythonError {message}}}",
            sensor=SENSOR,
        )
        assert answer["__typename"] == "Sensor", answer

    def ticks(self) -> list[Tick]:
        """The last ticks of the sensor, the newest first.

        Empty while the page is finding the code server again; it notices late that it went away.
        """
        answer = self.ask(
            "query($sensor: SensorSelector!) {sensorOrError(sensorSelector: $sensor) "
            "{... on Sensor {sensorState {ticks(limit: 20) "
            "{status timestamp skipReason runIds}}}}}",
            sensor=SENSOR,
        )
        return [
            Tick(one["status"], one["timestamp"], one["skipReason"] or "", tuple(one["runIds"]))
            for one in answer.get("sensorState", {"ticks": []})["ticks"]
        ]

    def serves(self) -> bool:
        """Whether the page answers, has found the code server and reaches the database."""
        assert self.is_up("web"), self.log("web")
        try:
            self.runs()
            answer = self.ask(
                "query($sensor: SensorSelector!) {sensorOrError(sensorSelector: $sensor) "
                "{__typename}}",
                sensor=SENSOR,
            )
        except (OSError, PageError):
            return False
        return bool(answer["__typename"] == "Sensor")
