"""The whole graph by the dagster command line, with what is made of pictures computed by Ray."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from webcam_ml.store import BucketStore, open_bucket
from webcam_ml_tests.integration.project import (
    SMALL,
    Project,
    copy_database,
    make_small_demo,
)
from webcam_ml_tests.integration.test_command_line import CONTRACT_FILES, REPORTED
from webcam_ml_tests.label_schema import create_schema
from webcam_ml_tests.ray_cluster import RayCluster, running_cluster
from webcam_ml_tests.seaweed import BUCKET, S3
from webcam_ml_tests.store.test_bucket import set_environment

pytestmark = pytest.mark.deployed


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), nodes=3) as running:
        yield running


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Project:
    data = make_small_demo(tmp_path_factory.mktemp("demo"))
    project = Project(tmp_path_factory.mktemp("local"), data)
    assert "computed by threads of this process" in project.succeed(REPORTED, SMALL)
    return project


def test_versions_are_those_of_a_local_run(
    local: Project, cluster: RayCluster, tmp_path: Path
) -> None:
    project = Project(tmp_path, local.database_url)
    engine = {"engine": "ray", "ray_address": cluster.address}
    said = project.succeed(REPORTED, {**SMALL, "resources": {"workspace": {"config": engine}}})
    for what in ("fingerprints", "features", "scores"):
        assert f"by Ray ({cluster.address}, 3 at once)" in said.partition(f"{what}: ")[2]
    for asset in CONTRACT_FILES:
        ours, theirs = (
            json.loads((one.latest(asset) / "lineage.json").read_text()) for one in (local, project)
        )
        assert ours["data_version"] == theirs["data_version"], asset


def test_the_environment_names_the_engine_which_may_be_this_machine(
    local: Project, tmp_path: Path
) -> None:
    project = Project(tmp_path, local.database_url, {"WEBCAM_ML_ENGINE": "ray"})
    assert "computed by Ray (on this machine, " in project.succeed("*image_index", SMALL)
    assert (
        project.latest("image_index").name.partition("-")[2]
        == (local.latest("image_index").name.partition("-")[2])
    )
    project.environment["WEBCAM_ML_RAY_ADDRESS"] = "127.0.0.1:1"
    said = project.fail("*checkpoint", SMALL)
    assert "there is no Ray cluster at 127.0.0.1:1" in said


def test_a_bucket_and_postgresql_change_no_version_either(
    local: Project,
    cluster: RayCluster,
    s3: S3,
    postgres_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three nodes with folders of their own, the store on S3, the labels on PostgreSQL."""
    engine = sa.create_engine(postgres_url)
    create_schema(engine)
    engine.dispose()
    assert local.database_url is not None
    copy_database(local.database_url, postgres_url)
    address = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    project = Project(
        tmp_path / "project",
        postgres_url,
        {
            **s3.settings(),
            "WEBCAM_ML_ARTIFACTS": address,
            "WEBCAM_ML_ENGINE": "ray",
            "WEBCAM_ML_RAY_ADDRESS": cluster.address,
        },
    )
    assert f"by Ray ({cluster.address}, 3 at once)" in project.succeed(REPORTED, SMALL)
    set_environment(monkeypatch, s3.settings())
    shared = BucketStore(open_bucket(address), tmp_path / "look")
    for asset in CONTRACT_FILES:
        ours = json.loads((local.latest(asset) / "lineage.json").read_text())
        assert shared.latest(asset).data_version == ours["data_version"], asset
