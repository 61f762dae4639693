"""A project folder of its own for the real `dagster` command line: instance, store, caches, data."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from filelock import FileLock

import webcam_ml
from webcam_ml.demo import make_demo_data
from webcam_ml_tests.forking import AT_START, SECONDS, Run, forks
from webcam_ml_tests.world import SHARED_VARIABLE, share_backbones

REPOSITORY = Path(webcam_ml.__file__).resolve().parents[1]
DAGSTER = Path(sys.executable).with_name("dagster")
WEBCAM_ML = Path(sys.executable).with_name("webcam-ml")

# The smallest network at a small size: what is proved does not depend on either.
SMALL = {
    "ops": {
        "checkpoint": {
            "config": {"model_name": "mobilenet_v3_small", "weights": "none", "image_size": 64}
        },
        "eval_report": {"config": {"bootstrap_samples": 200}},
    }
}


@dataclass
class Project:
    """Runs the commands that a user types, in a folder that nothing else uses."""

    folder: Path
    database_url: str | None
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.folder / "cache").exists():
            share_backbones(self.folder / "cache")
        home = self.folder / "home"
        if not home.exists():
            home.mkdir(parents=True)
            for name in ("dagster.yaml", "workspace.yaml"):
                shutil.copy(REPOSITORY / name, home)
            self.python(
                "from dagster import DagsterInstance; DagsterInstance.get().get_runs(limit=1)"
            )

    @property
    def home(self) -> Path:
        """Where commands run: the paths in dagster.yaml are relative to it."""
        return self.folder / "home"

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def env(self) -> dict[str, str]:
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DAGSTER_", "WEBCAM_ML_", "AI_")) and name != "DATABASE_URL"
        }
        env |= {
            "DAGSTER_HOME": str(self.home),
            **AT_START,
            "WEBCAM_ML_ARTIFACTS": str(self.artifacts),
            "WEBCAM_ML_CACHE": str(self.folder / "cache"),
        }
        if self.database_url is not None:
            env["DATABASE_URL"] = self.database_url
        return env | self.environment

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(part) for part in command],
            cwd=self.home,
            env=self.env(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def fork(self, *command: str, before: str = "") -> Run:
        """Start a command in a process that need not import anything; `run` gives it a fresh one."""
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        return forks().start(
            command,
            folder=self.home,
            environment=self.env(),
            log=logs / f"{len(list(logs.iterdir()))}.txt",
            before=before,
        )

    def python(self, script: str) -> str:
        return finished(self.fork(sys.executable, "-c", script), well=True)

    def materialize_command(
        self, select: str, config: dict[str, object] | Path | None = None
    ) -> list[str]:
        command = [str(DAGSTER), "asset", "materialize", "-m", "webcam_ml.definitions"]
        command += ["--select", select]
        if isinstance(config, Path):
            command += ["-c", str(config)]
        elif config is not None:
            command += ["--config-json", json.dumps(config)]
        return command

    def succeed(self, select: str, config: dict[str, object] | Path | None = None) -> str:
        return finished(self.fork(*self.materialize_command(select, config)), well=True)

    def fail(self, select: str, config: dict[str, object] | Path | None = None) -> str:
        return finished(self.fork(*self.materialize_command(select, config)), well=False)

    def latest(self, asset: str) -> Path:
        pointer = json.loads((self.artifacts / asset / "latest.json").read_text())
        return self.artifacts / asset / str(pointer["version"])

    def versions(self) -> dict[str, list[str]]:
        return {
            folder.name: sorted(path.name for path in folder.glob("2*"))
            for folder in sorted(self.artifacts.iterdir())
            if folder.is_dir()
        }


def finished(run: Run, *, well: bool) -> str:
    """Wait for a command; gives what it printed."""
    assert (run.wait() == 0) is well, run.output
    return run.output


def shared_demo() -> Path:
    """The usual demo with small pictures, large enough for the gates; drawn once for all tests.

    Returns:
        Its database, to be copied by whoever changes it.
    """
    shared = Path(os.environ[SHARED_VARIABLE])
    with FileLock(shared / "demo.lock"):
        make_demo_data(shared / "demo", image_width=224)
    return shared / "demo" / "labels.sqlite"


def demo_project(folder: Path) -> Project:
    """A project on the usual demo; pictures and features are cached once for all of these."""
    database = shared_demo()
    cache = Path(os.environ[SHARED_VARIABLE]) / "demo-cache"
    share_backbones(cache)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cache").symlink_to(cache, target_is_directory=True)
    return Project(folder, f"sqlite:///{database}")


def make_small_demo(
    folder: Path, *, webcams: int = 60, snapshots: int = 160, raters: float = 1.5
) -> str:
    """Draw a demo that trains in seconds and has both classes in every split; give its URL."""
    make_demo_data(
        folder,
        webcams=webcams,
        snapshots=snapshots,
        image_width=96,
        raters_per_snapshot=raters,
    )
    return f"sqlite:///{folder / 'labels.sqlite'}"


def altered_copy(database_url: str, path: Path, *statements: str) -> str:
    """Copy an SQLite database, run statements on the copy and give its URL."""
    shutil.copy(database_url.removeprefix("sqlite:///"), path)
    url = f"sqlite:///{path}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    engine.dispose()
    return url


def copy_database(source: str, target: str) -> None:
    """Copy the rows of the application's tables into a database that has the schema."""
    names = ("webcams", "webcam_snapshots", "webcam_snapshot_ratings")
    read, write = sa.create_engine(source), sa.create_engine(target)
    with read.connect() as reader, write.begin() as writer:
        for name in names:
            origin = sa.Table(name, sa.MetaData(), autoload_with=reader)
            destination = sa.Table(name, sa.MetaData(), autoload_with=writer)
            shared = [c.name for c in origin.columns if c.name in destination.columns]
            rows = [
                {column: row[column] for column in shared}
                for row in reader.execute(sa.select(origin)).mappings()
            ]
            writer.execute(destination.insert(), rows)
    read.dispose()
    write.dispose()
