"""Every command on a store in a bucket: it says and does what it does on the same store in a folder."""

import contextlib
import os
import re
import shutil
import sqlite3
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import yaml

import webcam_ml
from webcam_ml.cli import main
from webcam_ml.labels import LabelDatabase, record_inferences
from webcam_ml.live import current_ledger, promote_override, rollback
from webcam_ml.live._copy import copy_store, pull
from webcam_ml.store import PICTURES, ArtifactStore, BucketStore, open_bucket
from webcam_ml_tests.integration.project import DAGSTER, altered_copy, demo_project, finished
from webcam_ml_tests.integration.test_bucket_store import Machine
from webcam_ml_tests.integration.test_curators_loop import rate, reviewing
from webcam_ml_tests.integration.test_promotion import GOOD
from webcam_ml_tests.live.fixtures import bytes_below
from webcam_ml_tests.seaweed import BUCKET, S3
from webcam_ml_tests.store.test_bucket import set_environment
from webcam_ml_tests.world import SHARED_VARIABLE, share_backbones

# What a command is given; FIRST and SECOND are models, REGRESSION one of the other type.
READING = (
    "summary",
    "summary --json",
    "summary --since 0",
    "history",
    "lineage",
    "verify",
    "verify --head HEAD",
    "prune",
    "compare FIRST SECOND --to MADE/changed.html",
    "evaluate --predictions PREDICTIONS --to MADE/report",
    "copy-store MADE/copy",
    "pull MADE/application",
    "pull MADE/application --target-type regression",
    "score PICTURE --model LIVE --details",
)
CHANGING = (
    "promote FIRST --override again",
    "promote SECOND --override better",
    "history",
    "rollback --target-type binary --reason worse",
    "summary --json",
    "rollback --to REGRESSION",
    "promote nothing --override x",
    "rollback --target-type regression",
    "verify",
    "prune",
    "prune --yes",
    "prune",
    "history",
    "verify",
    "lineage",
)
WITH_A_PAGE = {"review", "import-votes"}
# They neither read a store nor write one.
WITHOUT_A_STORE = {"init", "demo-data"}


def test_every_command_is_tried_on_a_bucket(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out.partition("COMMAND\n")[2].partition("options:")[0]
    commands = set(re.findall(r"^ {4}([a-z][a-z-]*)", listed, re.M))
    tried = {one.split()[0] for one in READING + CHANGING} | WITH_A_PAGE
    assert commands == tried | WITHOUT_A_STORE


@dataclass(frozen=True)
class Place:
    """A store, the machine that uses it, and the names that stand for its own in what it says."""

    machine: Machine
    store: ArtifactStore
    words: dict[str, str]

    def say(self, command: str, made: Path) -> tuple[int, str]:
        """Run a command; give its exit code and what it said, without what differs by the place."""
        names = {**self.words, "MADE": str(made)}
        arguments = [
            re.sub("^[A-Z]{4,}", lambda one: names[one[0]], arg) for arg in command.split()
        ]
        run = self.machine.fork("webcam-ml", *arguments)
        code = run.wait()
        return code, self.plain(run.output, made)

    def plain(self, text: str, made: Path) -> str:
        """Write the names of this place, and times, as in any other."""
        paths = {value: word for word, value in self.words.items() if value.startswith("/")}
        own = {
            **paths,
            str(self.store.root): "STORE",
            self.store.address: "STORE",
            str(made): "MADE",
        }
        for name in sorted(own, key=len, reverse=True):
            text = text.replace(name, own[name])
        return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)", "TIME", text)


def without_paths(place: Place, made: Path) -> dict[str, bytes]:
    """What a command wrote; a scorer.env names where it is."""
    return {
        name: place.plain(data.decode(), made).encode() if name.endswith("scorer.env") else data
        for name, data in bytes_below(made).items()
        if not name.endswith(".lock")
    }


@pytest.fixture(scope="module")
def machine(s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Both questions asked in a bucket, both answers live, and a second binary model, refused."""
    folder = tmp_path_factory.mktemp("bucket")
    demo = demo_project(folder / "project")
    environment = {
        **s3.settings(),
        "WEBCAM_ML_ARTIFACTS": f"s3://{BUCKET}/{uuid.uuid4().hex}",
        "WEBCAM_ML_MIRROR": str(folder / "mirror"),
    }
    made = Machine(demo.folder, demo.database_url, environment)
    both = folder / "both.yaml"
    fields = {asset: entry["config"] for asset, entry in GOOD.items()}
    both.write_text(yaml.safe_dump({"ops": {"both_targets": {"config": fields}}}))
    job = ("job", "execute", "-m", "webcam_ml.definitions", "-j", "both_targets", "-c", str(both))
    finished(made.fork(str(DAGSTER), *job), well=True)
    regression = versions_of(made)["regression"][0]
    assert "has the heads of both" in made.command("promote", regression, "--override", "a test")
    other = {**GOOD["checkpoint"]["config"], "class_weight": "balanced"}
    made.succeed("*", {"ops": {**GOOD, "checkpoint": {"config": other}}})
    return made


def versions_of(machine: Machine) -> dict[str, list[str]]:
    """The names of all models that were promoted or refused, the oldest first."""
    found: dict[str, list[str]] = {"binary": [], "regression": []}
    for name in re.findall(
        r"\b((?:binary|regression)-\S+-[0-9a-f]{12})", machine.command("history")
    ):
        if name not in found[name.partition("-")[0]]:
            found[name.partition("-")[0]].append(name)
    return found


@pytest.fixture(scope="module")
def places(
    machine: Machine, s3: S3, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Place, Place]:
    """The store in a bucket, seen from a machine that has nothing, and a copy of it in a folder."""
    folder = tmp_path_factory.mktemp("places")
    with pytest.MonkeyPatch.context() as patch:
        set_environment(patch, s3.settings())
        return pair(machine, folder, machine.environment["WEBCAM_ML_ARTIFACTS"])


def pair(machine: Machine, folder: Path, address: str) -> tuple[Place, Place]:
    copy_store(open_bucket(address), open_bucket(str(folder / "artifacts")))
    # The first has neither a mirror nor a picture; the second has the pictures of the demo.
    caches = (folder / "cache", Path(os.environ[SHARED_VARIABLE]) / "demo-cache")
    share_backbones(caches[0])
    there, here = (
        place(machine, folder / str(number), one, caches[number])
        for number, one in enumerate((address, str(folder / "artifacts")))
    )
    return there, here


def place(machine: Machine, folder: Path, address: str, cache: Path) -> Place:
    folder.mkdir()
    environment = {
        **machine.environment,
        "WEBCAM_ML_ARTIFACTS": address,
        "WEBCAM_ML_CACHE": str(cache),
        "WEBCAM_ML_MIRROR": str(folder / "mirror"),
    }
    there = Machine(machine.folder, machine.database_url, environment)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in there.environment.items():
            patch.setenv(name, value)
        store = ArtifactStore.from_env()
    versions = versions_of(there)
    report = store.latest("eval_report").folder / "predictions.csv"
    predictions = folder / "predictions.csv"
    pl.read_csv(report).select("snapshot_id", score="raw_score").write_csv(predictions)
    head = folder / "ledger.head"
    head.write_bytes((store.root / "production" / "ledger.head").read_bytes())
    labels = pl.read_csv(store.latest("labels_raw").folder / "labels.csv")
    return Place(there, store, {
        "FIRST": versions["binary"][0],
        "SECOND": versions["binary"][1],
        "REGRESSION": versions["regression"][0],
        "PREDICTIONS": str(predictions),
        "HEAD": str(head),
        "PICTURE": labels["image_path_or_url"][0],
        "LIVE": str(store.root / "production" / "binary" / "model.onnx"),
    })  # fmt: skip


@pytest.mark.deployed
@pytest.mark.parametrize("command", READING)
def test_a_command_that_reads_says_and_writes_the_same(
    places: tuple[Place, Place], tmp_path: Path, command: str
) -> None:
    said, written = [], []
    for number, one in enumerate(places):
        made = tmp_path / str(number)
        made.mkdir()
        said.append(one.say(command, made))
        written.append(without_paths(one, made))
    assert said[0] == said[1]
    assert said[0][0] == 0
    assert written[0] == written[1]
    assert ("MADE" in command) == (written[0] != {})


@pytest.mark.deployed
def test_what_changes_a_store_changes_both_alike(
    machine: Machine,
    places: tuple[Place, Place],
    s3: S3,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_environment(monkeypatch, s3.settings())
    address = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    shutil.copytree(places[1].store.root, tmp_path / "source", symlinks=True)
    shutil.rmtree(tmp_path / "source" / PICTURES)
    copy_store(open_bucket(str(tmp_path / "source")), open_bucket(address))
    there, here = pair(machine, tmp_path, address)
    for command in CHANGING:
        assert there.say(command, tmp_path) == here.say(command, tmp_path), command
    assert {asset: there.store.versions(asset) for asset in there.store.assets()} == {
        asset: here.store.versions(asset) for asset in here.store.assets()
    }


def pair_of_projects(places: tuple[Place, Place], tmp_path: Path) -> list[tuple[Machine, Place]]:
    """A database and a working folder for each of the two stores, which no other test has."""
    found = []
    for number, one in enumerate(places):
        url = altered_copy(str(one.machine.database_url), tmp_path / f"{number}.sqlite")
        found.append((Machine(tmp_path / str(number), url, one.machine.environment), one))
    return found


def votes_in(machine: Machine) -> list[tuple[object, ...]]:
    query = (
        "SELECT snapshot_id, rating, user_session_id FROM webcam_snapshot_ratings "
        "WHERE user_session_id = 'anna' ORDER BY snapshot_id"
    )
    path = str(machine.database_url).removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


@pytest.mark.deployed
def test_the_page_offers_the_same_pictures_and_brings_votes_home(
    places: tuple[Place, Place], tmp_path: Path
) -> None:
    offered, pictures, voted = [], [], []
    for machine, _ in pair_of_projects(places, tmp_path):
        with reviewing(machine) as client:
            frames = client.get("/frames", params={"from": 0}).json()["frames"]
            offered.append([frame["snapshot_id"] for frame in frames])
            pictures.append(client.get(f"/pictures/{offered[-1][0]}").content)
            given = rate(client, 6)
            assert client.get("/status").json()["waiting"] == []
        voted.append(votes_in(machine))
        assert {snapshot: stars for snapshot, stars, _ in voted[-1]} == given
    assert offered[0] == offered[1] != []
    assert pictures[0] == pictures[1] != b""
    assert voted[0] == voted[1]


@pytest.mark.deployed
def test_votes_that_the_page_wrote_into_a_file_are_imported(
    places: tuple[Place, Place], tmp_path: Path
) -> None:
    said = []
    for machine, _ in pair_of_projects(places, tmp_path):
        file = machine.home / "votes.csv"
        with reviewing(machine, "--export", str(file)) as client:
            rate(client, 3)
        assert votes_in(machine) == []
        said.append(machine.command("import-votes", file, "--apply"))
        assert len(votes_in(machine)) == 3
    assert said[0] == said[1]


@pytest.mark.deployed
def test_a_notebook_reads_the_same(
    places: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in places[0].machine.environment.items():
        monkeypatch.setenv(name, value)
    there, here = (webcam_ml.open_store(one.store.address) for one in places)
    read = 0
    for asset in (asset for asset in there.tables if there.versions(asset)):
        assert there.versions(asset) == here.versions(asset)
        for name in there.tables[asset]:
            pd.testing.assert_frame_equal(there.table(asset, name), here.table(asset, name))
            read += 1
    for asset in (asset for asset in there.documents if there.versions(asset)):
        for name in there.documents[asset]:
            assert str(there.document(asset, name)) == str(here.document(asset, name))
            read += 1
    assert read > 20
    snapshot = int(there.table("image_index")["snapshot_id"].iloc[0])
    # The machine of the bucket had none; the other one's are in the cache of the demo.
    cache = Path(os.environ[SHARED_VARIABLE]) / "demo-cache"
    here = webcam_ml.open_store(places[1].store.address, cache=cache)
    np.testing.assert_array_equal(there.picture(snapshot), here.picture(snapshot))


@pytest.mark.deployed
def test_sensors_and_the_audit_find_the_same(places: tuple[Place, Place], tmp_path: Path) -> None:
    ticks, audits = [], []
    for number, one in enumerate(places):
        url = altered_copy(str(one.machine.database_url), tmp_path / f"{number}.sqlite")
        machine = Machine(one.machine.folder, url, one.machine.environment)
        labels = one.store.latest("labels_raw").folder / "labels.csv"
        scores = pl.read_csv(labels).select(
            "snapshot_id", raw_score=pl.lit(0.5), ai_rating=pl.lit(3.0)
        )
        record_inferences(LabelDatabase(url), scores, model_version=one.words["FIRST"])
        machine.succeed("served_scores_audit")
        stored = one.store.latest("served_scores_audit")
        audits.append((stored.data_version, stored.lineage.files))
        for name in ("label_growth_sensor", "live_events_sensor"):
            preview = ("sensor", "preview", name, "-w", "workspace.yaml")
            said = finished(machine.fork(str(DAGSTER), *preview), well=True)
            ticks.append([line for line in said.splitlines() if line.startswith("Sensor return")])
    assert audits[0] == audits[1]
    assert ticks[:2] == ticks[2:]


@pytest.mark.deployed
def test_one_file_with_both_heads_follows_on_every_machine(
    places: tuple[Place, Place], s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, s3.settings())
    there, here = places
    address = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    copy_store(open_bucket(str(here.store.root)), open_bucket(address))
    one, two = (BucketStore(open_bucket(address), tmp_path / name) for name in ("one", "two"))

    def heads(root: Path) -> tuple[str, bytes, bytes]:
        link = root / "production" / "both"
        return (
            link.readlink().name,
            (link / "model.onnx").read_bytes(),
            (link / "model.meta.json").read_bytes(),
        )

    first, second, regression = (there.words[name] for name in ("FIRST", "SECOND", "REGRESSION"))
    current_ledger(two)
    in_folder = heads(here.store.root)
    assert in_folder[0] == f"{first}+{regression}"
    assert heads(two.root) == heads(there.store.root) == in_folder
    links = pull(open_bucket(address), tmp_path / "application")
    assert set(links) == {"binary", "regression", "both"}
    assert heads(tmp_path / "application") == in_folder
    promote_override(one, second, reason="a test")
    current_ledger(two)
    pull(open_bucket(address), tmp_path / "application")
    assert heads(one.root)[0] == f"{second}+{regression}"
    assert heads(two.root) == heads(tmp_path / "application") == heads(one.root)
    rollback(two, target_type="binary")
    current_ledger(one)
    pull(open_bucket(address), tmp_path / "application")
    for root in (one.root, two.root, tmp_path / "application"):
        assert heads(root) == in_folder
