"""The Node package in clients/node, installed and built as `npm ci && npm run build` does.

Its node_modules and build are caches that git ignores; both are made the first time, and when what they
are made from has changed.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

CLIENT = Path(__file__).parents[2] / "clients" / "node"

_SCORE = """
import { ImageError, Scorer } from %(package)s;
const [modelPath, ...images] = process.argv.slice(1);
const scorer = await Scorer.create({ mode: 'onnx', modelPath, withoutModel: 'unscored' });
const said = [];
for await (const result of scorer.scoreMany(images.map((image) => ({ image })))) {
  said.push(result instanceof ImageError ? { error: result.reason } : result.score);
}
process.stdout.write(JSON.stringify(said));
"""


def run(
    command: Sequence[str],
    *,
    folder: Path,
    what: str,
    stdin: str = "",
    variables: Mapping[str, str] | None = None,
) -> str:
    """Run a command, and fail the test with what it printed if it fails."""
    ran = subprocess.run(
        command, cwd=folder, input=stdin, capture_output=True, text=True, check=False,
        env=os.environ | dict(variables or {}),
    )  # fmt: skip
    if ran.returncode:
        pytest.fail(f"{what} ({' '.join(command)}):\n{ran.stdout[-6000:]}{ran.stderr[-4000:]}")
    return ran.stdout


def build_client() -> Path:
    """Install what the package needs and compile it, unless that was done; give its entry."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.fail("Node 20.15 or later and npm are needed to test clients/node; install them")
    sources = [
        path
        for pattern in ("*.json", ".npmrc", "src/*.ts", "test/*.ts")
        for path in sorted(CLIENT.glob(pattern))
    ]
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    cache = CLIENT / "build"
    cache.mkdir(exist_ok=True)
    with FileLock(cache / ".lock"):
        built = cache / ".built"
        if not (built.exists() and built.read_text() == wanted):
            for stale in ("src", "test"):
                shutil.rmtree(cache / stale, ignore_errors=True)
            # The install script of onnxruntime-node fetches CUDA from elsewhere.
            run(
                ["npm", "ci", "--ignore-scripts"],
                folder=CLIENT,
                what="npm could not install what clients/node needs; this test needs it once",
            )
            run(["npm", "run", "build"], folder=CLIENT, what="clients/node does not compile")
            built.write_text(wanted)
    return CLIENT / "build" / "src" / "index.js"


def node_scores(model: Path, images: Sequence[str]) -> list[dict[str, Any]]:
    """What the package says of pictures: a score, or the reason of an error, of each."""
    script = _SCORE % {"package": json.dumps(str(build_client()))}
    command = ["node", "--input-type=module", "-e", script, "--", str(model), *images]
    said: list[dict[str, Any]] = json.loads(run(command, folder=CLIENT, what="Node failed"))
    return said
