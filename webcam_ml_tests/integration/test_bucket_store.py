"""The whole graph on a store in a bucket, by machines with caches and mirrors of their own."""

import itertools
import json
import re
import shutil
import uuid
from pathlib import Path

import pytest

from webcam_ml.contracts import IMAGE_INDEX_TABLE
from webcam_ml.store import ArtifactStore, BucketStore, open_bucket
from webcam_ml_tests.integration.project import (
    WEBCAM_ML,
    Project,
    demo_project,
    finished,
    make_small_demo,
)
from webcam_ml_tests.integration.test_promotion import GOOD
from webcam_ml_tests.seaweed import BUCKET, CUT_OFF, PASS, S3, Deed, failing
from webcam_ml_tests.store.test_bucket import set_environment
from webcam_ml_tests.world import share_backbones


class Machine(Project):
    """A project whose store is in a bucket; caches and mirror are in a folder of its own."""

    def moved_to(self, folder: Path) -> "Machine":
        """Go on on another machine: the instance is the same, as with a database for all."""
        share_backbones(folder / "cache")
        environment = {**self.environment, "WEBCAM_ML_CACHE": str(folder / "cache")}
        return Machine(self.folder, self.database_url, environment)

    def command(self, *arguments: str | Path, well: bool = True) -> str:
        return finished(self.fork(str(WEBCAM_ML), *map(str, arguments)), well=well)


def first_machine(folder: Path, database_url: str | None, server: S3, address: str) -> Machine:
    environment = {**server.settings(), "WEBCAM_ML_ARTIFACTS": address}
    return Machine(folder, database_url, environment).moved_to(folder / "one")


def data_versions(store: ArtifactStore, assets: list[str]) -> dict[str, str]:
    return {asset: store.latest(asset).data_version for asset in assets}


@pytest.mark.deployed
def test_two_machines_share_a_bucket_and_make_what_one_makes_in_a_folder(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = demo_project(tmp_path / "alone")
    alone.succeed("*", {"ops": GOOD})
    address = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    one = first_machine(tmp_path / "machines", alone.database_url, s3, address)
    one.succeed("*checkpoint,manifest_test", {"ops": GOOD})
    assert not (one.home / "artifacts").exists()
    # This one has neither the pictures nor the features, and not a file of the store.
    two = one.moved_to(tmp_path / "machines" / "two")
    after = "eval_report,onnx_model,champion_comparison,production_model,disagreement_report"
    two.succeed(f"{after},rating_queue", {"ops": GOOD})
    set_environment(monkeypatch, s3.settings())
    shared = BucketStore(open_bucket(address), tmp_path / "look")
    folder = ArtifactStore(alone.artifacts)
    assets = [name for name in folder.assets() if name not in ("production", "served_scores_audit")]
    # What was compared with no model but itself is equal; the ledger has other times.
    assert data_versions(shared, assets) == data_versions(folder, assets)
    # What machines computed of pictures, one that comes later takes from there.
    three = one.moved_to(tmp_path / "machines" / "three")
    output = three.succeed("eval_report", {"ops": GOOD})
    assert re.search(
        r"features: 0 pictures computed, (\d+) reused, \1 of them from the bucket", output
    )
    # What a user then does, on the machine that did not train.
    version = json.loads(two.command("summary", "--json"))["live"]["binary"]
    assert version in two.command("history")
    assert address in two.command("summary")
    assert "what is live" in one.command("verify")
    assert "labels_raw" in two.command("lineage")
    assert "0.0 MB in 0 versions" in one.command("prune")
    assert version in two.command("rollback", well=False)
    assert version in two.command("promote", version, "--override", "again", well=False)
    application = tmp_path / "application"
    assert version in two.command("pull", application)
    environment = dict(
        line.split("=", 1)
        for line in (application / "production/binary/scorer.env").read_text().splitlines()
    )
    assert Path(environment["AI_ONNX_MODEL_PATH"]).is_file()
    (picture, *_) = sorted(
        Path(str(alone.database_url)[len("sqlite:///") :]).parent.glob("images/*.jpg")
    )
    scoring = Project(two.folder, two.database_url, {**two.environment, **environment})
    assert f"scoring with {version}" in finished(
        scoring.fork(str(WEBCAM_ML), "score", str(picture)), well=True
    )
    back = tmp_path / "back"
    two.command("copy-store", back)
    assert data_versions(ArtifactStore(back), assets) == data_versions(folder, assets)


@pytest.mark.deployed
def test_pictures_and_notes_come_from_the_bucket_where_the_host_is_gone(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_small_demo(tmp_path / "demo")
    address = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    one = first_machine(tmp_path / "machines", url, s3, address)
    one.succeed("*image_index,manifest_train,manifest_val,manifest_test")
    set_environment(monkeypatch, s3.settings())
    store = BucketStore(open_bucket(address), tmp_path / "look")
    index = store.latest("image_index")
    table = IMAGE_INDEX_TABLE.read(index.folder / "image_index.csv").drop_nulls("sha256")
    pictures = {key.split("/")[-1] for key in store.remote.keys("images")}
    assert set(table["sha256"]) <= pictures
    shutil.rmtree(tmp_path / "demo" / "images")
    two = one.moved_to(tmp_path / "machines" / "two")
    small = {"model_name": "mobilenet_v3_small", "weights": "none", "image_size": 64}
    two.succeed("checkpoint,eval_report", {"ops": {"checkpoint": {"config": small}}})


@pytest.mark.parametrize(
    ("settings", "address", "message"),
    [
        ({}, "s3://absent/prefix", "no right|no such bucket"),
        ({"AWS_SECRET_ACCESS_KEY": "x"}, f"s3://{BUCKET}/x", "credentials are not accepted"),
        ({"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": "reader"}, f"s3://{BUCKET}/x", "no right"),
    ],
)  # fmt: skip
@pytest.mark.deployed
def test_a_bucket_that_cannot_be_used_stops_a_run_before_its_first_step(
    s3: S3, tmp_path: Path, settings: dict[str, str], address: str, message: str
) -> None:
    server = s3.settings("reader_everywhere") if "absent" in address else s3.settings()
    project = Project(
        tmp_path / "project",
        make_small_demo(tmp_path / "demo", webcams=8, snapshots=16),
        {**server, **settings, "WEBCAM_ML_ARTIFACTS": address},
    )
    output = project.fail("labels_raw")
    assert re.search(message, output), output
    assert "STEP_START" not in output


@pytest.mark.deployed
def test_a_run_whose_server_goes_away_ends_with_a_sentence_and_the_next_one_goes_on(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    select = "labels_raw,manifest_full,manifest_train,manifest_val,manifest_test"
    alone = Project(tmp_path / "alone", make_small_demo(tmp_path / "demo"))
    alone.succeed(select)
    address = f"s3://open/{uuid.uuid4().hex}"
    unsigned = {"AWS_SKIP_SIGNATURE": "true"}
    set_environment(monkeypatch, {**s3.settings(), **unsigned})
    store = BucketStore(open_bucket(address), tmp_path / "look")
    later = itertools.count()

    def deed(method: str, _: int) -> Deed:
        """Let labels_raw be stored, and two files of what comes after it."""
        is_later = method == "PUT" and store.versions("labels_raw") and next(later) > 2
        return CUT_OFF if is_later else PASS

    with failing(s3, deed) as proxy:
        project = Project(
            tmp_path / "project",
            alone.database_url,
            {**proxy.settings(), **unsigned, "WEBCAM_ML_ARTIFACTS": address},
        )
        output = project.fail(select)
    told = output.split("STEP_FAILURE", 1)[1].split("Stack Trace", 1)[0]
    assert "cannot be written: the server cannot be reached, or the connection broke" in told
    assert "AWS_ENDPOINT_URL" in told
    assert [asset for asset in store.assets() if store.versions(asset)] == ["labels_raw"]
    store.latest("labels_raw").verify()
    project.environment |= s3.settings()
    project.succeed(select)
    folder = ArtifactStore(alone.artifacts)
    assert data_versions(store, select.split(",")) == data_versions(folder, select.split(","))
