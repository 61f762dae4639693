"""The graph on databases with all, half and none of what the application has grown since."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    DagsterInstance,
    ExecuteInProcessResult,
    materialize,
)

from webcam_ml.dataset import Manifest, SplitConfig
from webcam_ml.orchestration.assets import ASSETS
from webcam_ml.orchestration.checks import judges_agree, no_device_in_two_splits
from webcam_ml.orchestration.io_manager import ArtifactIOManager
from webcam_ml.orchestration.resources import LabelDatabaseResource, Workspace
from webcam_ml.store import ArtifactStore
from webcam_ml_tests.label_schema import (
    Row,
    Rows,
    create_schema,
    insert_rows,
    rating,
    snapshot,
    webcam,
)
from webcam_ml_tests.live.models import Made, Works, make
from webcam_ml_tests.postgres import PostgresServer

# Dagster warns of its own deprecated internals when resources are built in a test's process.
pytestmark = pytest.mark.filterwarnings("default")

WEBCAMS, PER_WEBCAM = 120, 8
SELECTED = ["labels_raw", "manifest_full", "manifest_train", "manifest_val", "manifest_test"]
LLM = (
    "llm_quality real, llm_model text, llm_provider text, llm_rated_at timestamp, llm_confidence real,"
    " llm_is_sunset boolean, llm_is_sunrise boolean, llm_has_clouds boolean, llm_obstruction text,"
    " llm_time_of_day text, llm_sky_coverage real, llm_metadata text"
)
AI = (
    "ai_regression_score numeric, ai_model_version_regression text, ai_binary_score numeric,"
    " ai_binary_is_sunset boolean, ai_model_version_binary text, scoring_path text, scoring_state text"
)
TABLES = {
    "verdicts": ["ALTER TABLE webcam_snapshot_ratings ADD COLUMN is_sunset_verdict boolean"],
    "devices": ["ALTER TABLE webcams ADD COLUMN custom_camera_id int"],
    "scores": [
        f"ALTER TABLE webcam_snapshots ADD COLUMN {column.strip()}"
        for column in f"{LLM}, {AI}".split(",")
    ],
    "gold": [
        "CREATE TABLE manual_labels (source text, image_id int, is_sunset boolean not null, rating int)",
        "ALTER TABLE manual_labels ADD COLUMN origin text",
    ],
    "external": [
        f"CREATE TABLE external_images (id int, source text, image_url text, owner text, {LLM}, {AI})",
        "ALTER TABLE external_images ADD COLUMN license text",
    ],
}
PARTS = {
    "all": set(TABLES),
    "scores and pictures": {"scores", "external"},
    "verdicts, gold and devices": {"verdicts", "gold", "devices"},
    "none": set(),
}
CHECKS = [no_device_in_two_splits, judges_agree]
ALL_JUDGES = {"label_source": "all_judges", "external_images": True}


def fill(engine: sa.Engine, parts: set[str]) -> None:
    """The same world, as far as a database can hold it."""
    create_schema(engine)
    random = np.random.default_rng(3)
    ids = np.arange(1, WEBCAMS * PER_WEBCAM + 1)
    webcam_id = (ids - 1) // PER_WEBCAM + 1
    beauty = random.normal(size=WEBCAMS)[webcam_id - 1] + random.normal(size=len(ids))
    stars = np.clip(np.round(2.4 + 1.3 * beauty), 1, 5).astype(int).tolist()
    rated = random.uniform(size=len(ids)) < 0.6
    quality = np.round(
        np.clip(0.15 * (np.array(stars) - 1 + random.normal(size=len(ids))), 0, 1), 2
    )
    model = np.where(random.uniform(size=len(ids)) < 0.9, "gemini-2.5", "gpt-4o").tolist()
    kind = random.choice(["stars", "N", "yes"], len(ids), p=[0.9, 0.05, 0.05]).tolist()
    given = [one if what == "stars" else None for one, what in zip(stars, kind, strict=True)]
    rows = zip(ids.tolist(), webcam_id.tolist(), strict=True)
    voted: list[Row] = [rating(int(id), given[id - 1], "anna") for id in ids[rated].tolist()]
    insert_rows(
        engine,
        Rows(
            webcams=tuple(webcam(id) for id in range(1, WEBCAMS + 1)),
            snapshots=tuple(
                snapshot(id, camera, calculated_rating=float(stars[id - 1])) for id, camera in rows
            ),
            ratings=tuple(voted),
        ),
    )
    with engine.begin() as connection:

        def each(statement: str, values: list[dict[str, object]]) -> None:
            connection.execute(sa.text(statement), values)

        for name, statements in TABLES.items():
            for statement in statements if name in parts else ():
                connection.execute(sa.text(statement))
        if "verdicts" in parts:
            each(
                "UPDATE webcam_snapshot_ratings SET is_sunset_verdict = :said WHERE snapshot_id = :id",
                [{"id": int(id), "said": kind[id - 1] != "N"} for id in ids[rated].tolist()],
            )
        if "devices" in parts:
            each(
                "UPDATE webcams SET custom_camera_id = :device WHERE id = :id",
                [{"id": id, "device": id % 40} for id in range(1, 81)],
            )
        if "scores" in parts:
            each(
                "UPDATE webcam_snapshots SET llm_quality = :score, llm_model = :model WHERE id = :id",
                [
                    {"id": int(id), "score": float(quality[id - 1]), "model": model[id - 1]}
                    for id in ids.tolist()
                    if id % 7
                ],
            )
        if "gold" in parts:
            each(
                "INSERT INTO manual_labels (source, image_id, is_sunset, rating)"
                " VALUES (:source, :id, :said, :stars)",
                [
                    {"source": source, "id": id, "said": id % 3 > 0, "stars": 4 if id % 3 else None}
                    for source, several in (("webcam", range(1, 90, 4)), ("flickr", range(1, 20)))
                    for id in several
                ],
            )
        if "external" in parts:
            each(
                "INSERT INTO external_images (id, source, image_url, owner, license, llm_quality,"
                " llm_model) VALUES (:id, 'flickr', :url, :owner, 'CC0', :score, 'gemini-2.5')",
                [
                    {"id": id, "url": f"/{id}.jpg", "owner": f"o{id % 9}", "score": id / 50}
                    for id in range(1, 41)
                ],
            )


@contextmanager
def database(kind: str, folder: Path, server: PostgresServer) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder}/labels.sqlite"
    else:
        with server.fresh_database() as url:
            yield url


def run(folder: Path, config: dict[str, object]) -> tuple[ExecuteInProcessResult, dict[str, bytes]]:
    """Make labels and manifests; also give their files."""
    artifacts = folder / "artifacts"
    workspace = Workspace(artifacts=str(artifacts), cache=str(folder / "cache"))
    label_database = LabelDatabaseResource()
    names = [key.to_user_string() for asset in ASSETS for key in asset.keys]
    manager = ArtifactIOManager(
        workspace=workspace, label_database=label_database, asset_names=names
    )
    result = materialize(
        [*ASSETS, *CHECKS],
        selection=SELECTED,
        resources={
            "io_manager": manager,
            "workspace": workspace,
            "label_database": label_database,
        },
        instance=DagsterInstance.ephemeral(),
        run_config={"ops": {"labels_raw": {"config": config}}},
    )
    assert result.success
    files = {}
    for name in SELECTED:
        version = json.loads((artifacts / name / "latest.json").read_text())["version"]
        for path in (artifacts / name / version).iterdir():
            if path.name != "lineage.json":
                files[f"{name}/{path.name}"] = path.read_bytes()
    return result, files


def manifest_of(files: dict[str, bytes], folder: Path) -> Manifest:
    folder.mkdir()
    for name in ("manifest_full.csv", "snapshot_details.csv", "judgements.csv", "export_meta.json"):
        (folder / name).write_bytes(files[f"manifest_full/{name}"])
    return Manifest.load(folder)


def checks_of(result: ExecuteInProcessResult) -> dict[str, AssetCheckEvaluation]:
    return {one.check_name: one for one in result.get_asset_check_evaluations()}


@pytest.mark.parametrize("parts", PARTS)
def test_both_databases_give_equal_bytes(
    parts: str, tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {}
    plain = {}
    for kind in ("sqlite", "postgresql"):
        folder = tmp_path / kind
        folder.mkdir()
        with database(kind, folder, postgres_server) as url:
            engine = sa.create_engine(url, poolclass=sa.NullPool)
            fill(engine, PARTS[parts])
            monkeypatch.setenv("DATABASE_URL", url)
            result, made[kind] = run(folder, ALL_JUDGES)
            _, plain[kind] = run(folder, {"label_source": "manual_only"})
    assert made["sqlite"] == made["postgresql"]
    assert plain["sqlite"] == plain["postgresql"]

    manifest = manifest_of(made["sqlite"], tmp_path / "read")
    origins = {"people"} | ({"judge:gemini-2.5"} if "scores" in PARTS[parts] else set())
    assert set(manifest.frame["label_origin"]) == origins
    below = manifest.frame.filter(manifest.frame["snapshot_id"] < 0)
    assert below.height == (40 if {"scores", "external"} <= PARTS[parts] else 0)
    splits = SplitConfig()
    for camera, place in manifest.of_webcams.frame.select("webcam_id", "split").iter_rows():
        assert place == splits.split_of(camera)

    checks = checks_of(result)
    agree = checks["judges_agree"]
    assert agree.passed
    assert agree.description == "No binary model is live."
    check = checks["no_device_in_two_splits"]
    torn = [
        (one, one + 40) for one in range(1, 41) if splits.split_of(one) != splits.split_of(one + 40)
    ]
    assert torn
    assert check.passed is ("devices" not in PARTS[parts])
    if "devices" in PARTS[parts]:
        assert check.severity.value == "WARN"
        assert check.metadata["devices in two splits"].value == len(torn)
        assert "merge_duplicate_webcams: true" in str(check.description)


def test_a_judge_that_moved_since_the_live_model_is_warned_of_with_figures(
    made: dict[str, Made], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/labels.sqlite"
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    fill(engine, {"scores"})
    monkeypatch.setenv("DATABASE_URL", url)
    _, files = run(tmp_path, ALL_JUDGES)
    then = manifest_of(files, tmp_path / "then")
    heard = then.meta.heard
    assert heard is not None
    assert heard.speaking == ("gemini-2.5",)
    # A model that learned from the judge as it was goes live in the store of the graph.
    first = made["first"]
    meta = replace(first.world.manifest.meta, query=then.meta.query, heard=heard)
    manifest = replace(first.world.manifest, meta=meta, said=then.said)
    world = replace(first.world, manifest=manifest)
    Works(ArtifactStore(tmp_path / "artifacts")).run(make(world, first.checkpoint))

    agree = checks_of(run(tmp_path, ALL_JUDGES)[0])["judges_agree"]
    assert agree.passed
    assert "1 judges says what it said" in str(agree.description)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "UPDATE webcam_snapshots SET llm_quality = min(1, llm_quality + .2)"
                " WHERE llm_quality IS NOT NULL"
            )
        )
    result, _ = run(tmp_path, ALL_JUDGES)
    assert result.success, "nobody is held up by it"
    agree = checks_of(result)["judges_agree"]
    assert not agree.passed
    assert agree.severity == AssetCheckSeverity.WARN
    assert not agree.blocking
    assert "gemini-2.5 has moved: the same scores mean other targets" in str(agree.description)
    assert agree.metadata["that differ"].value == 1
    shown = str(agree.metadata["examples"].value)
    assert "| judge | apart | by chance | weight |" in shown
    (line,) = [one for one in shown.splitlines() if "gemini-2.5" in one]
    weight = heard.weights["gemini-2.5"]
    assert f"{weight:.3f} → " in line


def test_people_alone_are_read_as_before_from_a_database_with_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for parts in ("all", "none"):
        (tmp_path / parts).mkdir()
        url = f"sqlite:///{tmp_path / parts}/labels.sqlite"
        fill(sa.create_engine(url), PARTS[parts])
        monkeypatch.setenv("DATABASE_URL", url)
        for source in ("manual_only", "public_aggregate"):
            made.append(run(tmp_path / parts, {"label_source": source})[1])
            assert (made[-1].pop("labels_raw/devices.csv", None) is not None) == (parts == "all")
    assert made[:2] == made[2:]
