"""Node with the packages and the lines of docs/runtime.md.

What node/package.json names is installed into node/node_modules (a cache that git ignores) the first
time.
"""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from filelock import FileLock

NODE = Path(__file__).parent / "node"
DOCUMENT = Path(__file__).parents[2] / "docs" / "runtime.md"


def documented_lines() -> str:
    blocks = re.findall(r"^```js\n(// scorer\.mjs\n.*?)^```$", DOCUMENT.read_text(), re.M | re.S)
    assert len(blocks) == 1, "docs/runtime.md has one block that starts with // scorer.mjs"
    return str(blocks[0])


def run(command: Sequence[str], *, folder: Path, what: str, stdin: str = "") -> str:
    ran = subprocess.run(
        command, cwd=folder, input=stdin, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        pytest.fail(f"{what} ({' '.join(command)}):\n{ran.stdout[-2000:]}{ran.stderr[-4000:]}")
    return ran.stdout


def install_packages() -> None:
    """Install what package.json names, unless that was done before."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.fail("Node 20.9 or later and npm are needed to test docs/runtime.md; install them")
    wanted = hashlib.sha256((NODE / "package.json").read_bytes()).hexdigest()
    cache = NODE / "node_modules"
    cache.mkdir(exist_ok=True)
    installed = cache / ".installed"
    with FileLock(cache / ".lock"):
        if installed.exists() and installed.read_text() == wanted:
            return
        run(
            # The install script of onnxruntime-node fetches CUDA from elsewhere.
            ["npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"],
            folder=NODE,
            what="npm could not install onnxruntime-node and sharp; this test needs them once",
        )
        installed.write_text(wanted)
