import subprocess
import sys


def test_loading_the_definitions_loads_no_torch_nor_other_heavy_library() -> None:
    script = (
        "import sys, webcam_ml.definitions\n"
        "heavy = {'torch', 'torchvision', 'onnx', 'sklearn', 'scipy', 'matplotlib', 'pandas'}\n"
        "sys.exit(str(sorted(heavy & sys.modules.keys())) if heavy & sys.modules.keys() else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
