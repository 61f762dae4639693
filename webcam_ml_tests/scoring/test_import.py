"""The runtime is light: what it loads is what a server that only scores has to install."""

import json
import subprocess
import sys

HEAVY = {
    "torch", "torchvision", "dagster", "pandas", "polars", "sklearn", "scipy", "matplotlib",
    "sqlalchemy", "pydantic", "onnx", "onnxscript", "httpx", "fsspec", "tqdm",
}  # fmt: skip


def test_importing_the_runtime_loads_nothing_heavy() -> None:
    script = """
import json, sys
import webcam_ml.scoring
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    loaded = set(json.loads(ran.stdout))
    assert not loaded & HEAVY
    assert {"numpy", "PIL", "onnxruntime"} <= loaded
