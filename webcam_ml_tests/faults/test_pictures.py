"""500 pictures that a fuzzer spoilt, through decoder and scorer in a process that is watched."""

import json
import random
import subprocess
import sys
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from webcam_ml_tests.scoring.models import tiny_model, write_model
from webcam_ml_tests.scoring.pictures import encoded, photograph

PICTURES = 500
SECONDS = 300
MEMORY = 1_000_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
WHOLE = [encoded(photograph(seed=seed), kind=name) for seed, name in enumerate(FORMATS)]

WATCHED = """
import json, pathlib, re, sys
from webcam_ml.scoring import ImageError, Scorer
scorer = Scorer("onnx", model_path=sys.argv[1], threads=2)
paths = sorted(pathlib.Path(sys.argv[2]).iterdir())
outcomes = [
    one.reason if isinstance(one, ImageError) else one.path for one in scorer.score_many(paths)
]
# Not getrusage, whose peak begins with that of the process that started this one.
status = pathlib.Path("/proc/self/status").read_text()
peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1]) * 1024
print(json.dumps({"outcomes": outcomes, "peak": peak}))
"""


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A picture with bytes changed, removed, doubled, exchanged or announced sizes made huge."""
    data = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)) | st.integers(0, min(60, len(data))))
        length = draw(st.integers(1, 40))
        match draw(st.sampled_from(["set", "cut", "double", "end", "splice", "huge"])):
            case "set":
                data[at : at + length] = draw(st.binary(min_size=length, max_size=length))
            case "cut":
                del data[at : at + length]
            case "double":
                data[at:at] = data[at : at + length]
            case "end":
                del data[at:]
            case "splice":
                other = draw(st.sampled_from(WHOLE))
                data[at:] = other[at:]
            case _:
                data[at : at + 4] = b"\xff\xff\xff\x7f"
    return bytes(data)


def test_spoilt_pictures_are_scored_or_are_errors_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    contents: list[bytes] = []

    @settings(
        max_examples=PICTURES, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(spoilt())
    def write(content: bytes) -> None:
        contents.append(content)

    write()
    chance = random.Random(0)
    while len(contents) < PICTURES:  # the fuzzer may be done before it has made as many
        whole = bytearray(chance.choice(WHOLE))
        whole[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        contents.append(bytes(whole))
    for number, content in enumerate(contents):
        (folder / f"{number:04}").write_bytes(content)
    model = write_model(tmp_path / "live", tiny_model())
    ran = subprocess.run(
        [sys.executable, "-c", WATCHED, str(model), str(folder)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert len(result["outcomes"]) == len(contents) >= PICTURES
    assert "baseline" not in result["outcomes"]
    # The fuzzer spoils neither everything nor nothing.
    assert 20 < result["outcomes"].count("onnx") < PICTURES - 100
    assert 10_000_000 < result["peak"] < MEMORY
