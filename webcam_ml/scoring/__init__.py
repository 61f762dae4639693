"""The runtime: from an image to a score, with numpy, Pillow and onnxruntime only."""

from webcam_ml.scoring._decode import (
    MAX_PIXELS,
    ImageError,
    ImageInfo,
    decode_image,
    decode_image_with_info,
)

__all__ = [
    "MAX_PIXELS",
    "ImageError",
    "ImageInfo",
    "decode_image",
    "decode_image_with_info",
]
