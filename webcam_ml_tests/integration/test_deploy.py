"""The files in deploy/ are what their programs expect, as they are."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from webcam_ml_tests.integration.project import DAGSTER, REPOSITORY
from webcam_ml_tests.postgres import PostgresServer

DEPLOY = REPOSITORY / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
ROLE, PASSWORD = "instance_owner", "not/to be@shown"


def dagster_instance(
    command: str, home: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(DAGSTER), "instance", command],
        env=os.environ | {"DAGSTER_HOME": str(home), "PYTHONWARNINGS": "ignore"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_instance_file_makes_an_instance_that_shows_no_password(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    shutil.copy(DEPLOY / "postgres" / "dagster.yaml", tmp_path)
    with (
        postgres_server.login(ROLE, PASSWORD),
        postgres_server.fresh_database() as url,
    ):
        database = re.findall("test_[0-9]+", url)[0]
        postgres_server.execute(f"ALTER DATABASE {database} OWNER TO {ROLE}")
        environment = {
            "DAGSTER_POSTGRES_URL": postgres_server.url(database, user=ROLE, password=PASSWORD)
        }
        info = dagster_instance("info", tmp_path, environment)
        assert info.returncode == 0, info.stderr
        shown = yaml.safe_load(info.stdout.split("-----\n")[1].split("\n\n\n")[0])
        assert shown["event_log_storage"] == "PostgresEventLogStorage"
        assert shown["run_monitoring"]["max_runtime_seconds"] > 0
        current, latest = (
            re.findall(f"{name}: ([0-9a-f]+)", info.stdout) for name in ("current", "latest")
        )
        assert len(current) == 3
        assert current == latest
        migrate = dagster_instance("migrate", tmp_path, environment)
        assert migrate.returncode == 0, migrate.stderr
        for text in (info.stdout, info.stderr, migrate.stdout, migrate.stderr):
            assert "not/to" not in text
            assert "not%2Fto" not in text


def test_without_its_variable_the_instance_says_which_one(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "postgres" / "dagster.yaml", tmp_path)
    result = dagster_instance("info", tmp_path, {})
    assert result.returncode != 0
    assert "DAGSTER_POSTGRES_URL" in result.stdout + result.stderr


def test_the_code_location_has_one_name_whoever_serves_it() -> None:
    """The switch of the sensor and its history hang on that name."""
    (module,) = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())["load_from"]
    (served,) = yaml.safe_load((DEPLOY / "postgres" / "workspace.yaml").read_text())["load_from"]
    assert served["grpc_server"]["location_name"] == module["python_module"]["location_name"]


@pytest.mark.parametrize("unit", UNITS, ids=[unit.stem for unit in UNITS])
def test_a_unit_runs_a_program_that_is_installed_with_settings_that_exist(unit: Path) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # systemd minds the case
    parser.read(unit)
    service = parser["Service"]
    program, *_ = service["ExecStart"].split()
    assert DAGSTER.with_name(Path(program).name).exists()
    if "--workspace" in service["ExecStart"]:
        assert "/opt/webcam-ml/deploy/postgres/workspace.yaml" in service["ExecStart"]
    assert Path(service["EnvironmentFile"]).name == "webcam-ml.env"
    assert (DEPLOY / "systemd" / "webcam-ml.env").exists()
    assert service["Restart"] == "always"


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("no systemd here")
    for unit in UNITS:
        text = unit.read_text().replace("/opt/webcam-ml/.venv/bin", str(DAGSTER.parent))
        (tmp_path / unit.name).write_text(text)
    result = subprocess.run(
        [analyze, "verify", *(str(tmp_path / unit.name) for unit in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "webcam-ml" not in result.stderr
