"""deploy/docker/Dockerfile by a linter and against .dockerignore; no image is built here."""

import re
import shutil
import subprocess

from webcam_ml_tests.integration.project import DAGSTER, REPOSITORY


def test_the_dockerfile_is_clean_and_takes_nothing_but_the_package() -> None:
    dockerfile = REPOSITORY / "deploy" / "docker" / "Dockerfile"
    hadolint = shutil.which("hadolint", path=DAGSTER.parent)
    assert hadolint is not None
    result = subprocess.run(
        [hadolint, str(dockerfile)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    text = dockerfile.read_text()
    assert re.findall("(?m)^USER (.*)$", text) == ["10001:10001"]
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        word.split("/")[0]
        for line in re.findall("(?m)^COPY (.*)$", text)
        for word in line.split()[:-1]
    }
    assert copied == let_in
    assert all((REPOSITORY / name).exists() for name in let_in)
