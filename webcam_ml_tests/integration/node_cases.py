"""What the tests of clients/node compare with: pictures, models, and what Python makes of them.

    python -m webcam_ml_tests.integration.node_cases FOLDER

writes them; then `WEBCAM_ML_CASES=FOLDER npm test` in clients/node.
"""

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from webcam_ml.scoring import (
    ImageError,
    OnnxModel,
    Score,
    Scorer,
    baseline_score,
    decode_image,
)
from webcam_ml_tests.scoring import cases, corpus
from webcam_ml_tests.scoring.broken import BROKEN
from webcam_ml_tests.scoring.models import (
    JPEG,
    VERSION,
    LiveLink,
    tiny_model,
    write_both,
    write_model,
)

SUNSET = {"viewCount": 5000, "rating": 4, "phase": "sunset"}
WEBCAMS: list[dict[str, object]] = [
    SUNSET,
    {},
    {"viewCount": None, "rating": None, "phase": None},
    {"viewCount": -3, "rating": 0, "phase": "sunrise"},
    *({"viewCount": 7**power, "rating": power % 6, "phase": "sunset"} for power in range(12)),
]
# Exact ties (1/128 has seven decimals), ordinary values, the ends.
RAW = [
    0.0, 1.0, 1 / 128, 3 / 128, 5e-7, 0.4637284951, 0.9999995, 1 / 3,
    *(float(value) for value in np.random.default_rng(3).random(200, dtype=np.float32)),
]  # fmt: skip


def write_cases(folder: Path) -> None:
    """Write cases.json, and the pictures and models that it names."""
    live = write_model(folder / "live", tiny_model())
    (folder / "pictures").mkdir()
    written = {
        "model": str(live),
        "version": VERSION,
        "decisionThreshold": OnnxModel.load(live).decision_threshold,
        "pictures": list(_pictures(folder / "pictures", Scorer("onnx", model_path=live))),
        "damaged": list(_damaged(folder / "pictures")),
        "baselines": [
            {"webcam": webcam, "score": _baseline(webcam).to_dict()} for webcam in WEBCAMS
        ],
        "rounded": [
            {"raw": raw, "score": Score.of(raw, model_version="m").to_dict()} for raw in RAW
        ],
        "broken": list(_broken(folder / "broken")),
        "exchanged": _exchanged(folder / "exchanged"),
        "picky": str(write_model(folder / "picky", tiny_model(needs_width=40))),
        "both": _both(write_both(folder / "both"), folder / "pictures" / "temple"),
    }
    (folder / "cases.json").write_text(json.dumps(written))


def _baseline(webcam: Mapping[str, object]) -> Score:
    views, rating, phase = (webcam.get(key) for key in ("viewCount", "rating", "phase"))
    return baseline_score(views, rating, phase)


def _pictures(folder: Path, scorer: Scorer) -> Iterator[dict[str, object]]:
    """Each with what Python makes of it, and how another runtime may differ."""
    for makers, differs in (
        (corpus.ALIKE, None),
        (corpus.UNLIKE, "pixels"),
        (corpus.REFUSED, None),
        (corpus.REFUSED_FOR_THE_LAST_ROWS, "may be read"),
    ):
        for name, make in makers.items():
            yield _picture(folder, name, make(), scorer) | {"differs": differs}
    for name, data in corpus.busy():
        yield _picture(folder, name, data, scorer) | {"differs": None}


def _picture(folder: Path, name: str, data: bytes, scorer: Scorer) -> dict[str, object]:
    file = folder / re.sub(r"\W+", "-", name)
    assert not file.exists(), f"two pictures are called {name}"
    file.write_bytes(data)
    said: dict[str, object] = {"name": name, "file": str(file)}
    try:
        pixels = decode_image(data)
    except ImageError as error:
        return said | {"reason": error.reason}
    if name in corpus.UNLIKE:
        pixels.tofile(file.with_suffix(".rgb"))
    return said | {
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "sha256": hashlib.sha256(pixels).hexdigest(),
        "score": scorer.score(data).to_dict(),
    }


def _damaged(folder: Path) -> Iterator[dict[str, object]]:
    for number, (way, data, _) in enumerate(cases.damaged(500)):
        file = folder / f"damaged-{number}.jpg"
        file.write_bytes(data)
        said: dict[str, object] = {"file": str(file), "cut": way in cases.CUTS}
        try:
            yield said | {"sha256": hashlib.sha256(decode_image(data)).hexdigest()}
        except ImageError as error:
            yield said | {"reason": error.reason}


def _broken(folder: Path) -> Iterator[dict[str, object]]:
    for name, (damage, reason) in BROKEN.items():
        live = folder / name.replace(" ", "-")
        write_model(live, tiny_model())
        environment = {
            "AI_SCORING_MODE": "onnx",
            "AI_ONNX_MODEL_PATH": str(live / "model.onnx"),
            "AI_MODEL_VERSION": VERSION,
        }
        yield {
            "name": name,
            "folder": str(live),
            "env": environment | damage(live),
            "reason": reason,
        }


def _both(model: Path, picture: Path) -> dict[str, object]:
    (result,) = Scorer("onnx", model_path=model).score_many([picture])
    assert not isinstance(result, ImageError)
    scores = {target_type: score.to_dict() for target_type, score in result.heads.items()}
    return {"model": str(model), "scores": scores}


def _exchanged(folder: Path) -> dict[str, object]:
    """Two models, a link to one of them, and what each says of one picture."""
    folder.mkdir()
    picture = folder / "picture.jpg"
    picture.write_bytes(JPEG)
    scores = {name: score.to_dict() for name, score in LiveLink(folder).scores.items()}
    return {"folder": str(folder), "picture": str(picture), "scores": scores}


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    write_cases(target)
