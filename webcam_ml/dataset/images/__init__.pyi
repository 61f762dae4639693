from ._array_cache import ArrayCache
from ._cache import DamagedImageError, ImageCache, ImageRecord
from ._engine import Engine, ImageArray, LocalEngine, PictureWork, work_ahead
from ._engine_choice import ADDRESS_VARIABLE, ENGINE_VARIABLE, engine_name, open_engine
from ._failure import ImageFetchError
from ._fetch import fetch_bytes
from ._index import ImageIndex, build_image_index, index_what_can_be_read
from ._machine import Provider, onnxruntime_version
from ._ray_engine import RayEngine, import_ray
from ._ray_worker import installed
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
    "engine_name",
    "fetch_bytes",
    "import_ray",
    "index_what_can_be_read",
    "installed",
    "onnxruntime_version",
    "open_engine",
    "work_ahead",
]
