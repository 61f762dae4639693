"""The runtime: from an image to a score, with numpy, Pillow, simplejpeg and onnxruntime only.

In the order in which a picture passes: `_decode` makes pixels of any file (with `_jpeg`, `_png`,
`_gif` and `_orientation`), `_model` (with `_onnx_file`) checks a model and runs it, `_score` holds
the numbers of the contract and the baseline, `_scorer` decides whether model or baseline scores,
`_command` is `webcam-ml score`. Training takes its pixels from here too. Nothing in this package
uses a database, a network or Dagster.
"""

from webcam_ml.limits import MAX_BYTES, MAX_PIXELS
from webcam_ml.scoring._command import add_score_command
from webcam_ml.scoring._decode import (
    DECODER_VERSION,
    ImageInfo,
    decode_image,
    decode_image_with_info,
)
from webcam_ml.scoring._files import NotARegularFileError, open_regular_file
from webcam_ml.scoring._image_error import ImageError, Reason
from webcam_ml.scoring._model import META_NAME, META_SCHEMA_VERSION, Head, OnnxModel
from webcam_ml.scoring._onnx_file import ModelError
from webcam_ml.scoring._score import BASELINE_VERSION, Score, WebcamMetadata, baseline_score
from webcam_ml.scoring._scorer import (
    ImageSource,
    ScoredImage,
    Scorer,
    ScoringPath,
    scoring_environment,
)

__all__ = [
    "BASELINE_VERSION",
    "DECODER_VERSION",
    "MAX_BYTES",
    "MAX_PIXELS",
    "META_NAME",
    "META_SCHEMA_VERSION",
    "Head",
    "ImageError",
    "ImageInfo",
    "ImageSource",
    "ModelError",
    "NotARegularFileError",
    "OnnxModel",
    "Reason",
    "Score",
    "ScoredImage",
    "Scorer",
    "ScoringPath",
    "WebcamMetadata",
    "add_score_command",
    "baseline_score",
    "decode_image",
    "decode_image_with_info",
    "open_regular_file",
    "scoring_environment",
]
