from ._array_cache import ArrayCache
from ._cache import DamagedImageError, ImageCache, ImageRecord
from ._engine import Engine, ImageArray, LocalEngine, PictureWork, work_ahead
from ._engine_choice import ADDRESS_VARIABLE, ENGINE_VARIABLE, open_engine
from ._failure import ImageFetchError
from ._fetch import fetch_bytes
from ._index import ImageIndex, build_image_index, index_what_can_be_read
from ._machine import Provider, onnxruntime_version
from ._ray_engine import RayEngine
from ._reader import ImageReader
from ._settings import FetchSettings, ImageSettings

__all__ = [
    "ADDRESS_VARIABLE",
    "ENGINE_VARIABLE",
    "ArrayCache",
    "DamagedImageError",
    "Engine",
    "FetchSettings",
    "ImageArray",
    "ImageCache",
    "ImageFetchError",
    "ImageIndex",
    "ImageReader",
    "ImageRecord",
    "ImageSettings",
    "LocalEngine",
    "PictureWork",
    "Provider",
    "RayEngine",
    "build_image_index",
    "fetch_bytes",
    "index_what_can_be_read",
    "onnxruntime_version",
    "open_engine",
    "work_ahead",
]
