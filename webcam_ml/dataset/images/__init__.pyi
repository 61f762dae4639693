from ._array_cache import ArrayCache
from ._cache import DamagedImageError, ImageCache, ImageRecord
from ._engine import Engine, ImageArray, LocalEngine, PictureWork, work_ahead
from ._failure import ImageFetchError
from ._fetch import fetch_bytes
from ._index import ImageIndex, build_image_index, index_what_can_be_read
from ._machine import Provider
from ._reader import ImageReader
from ._settings import FetchSettings, ImageSettings

__all__ = [
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
    "build_image_index",
    "fetch_bytes",
    "index_what_can_be_read",
    "work_ahead",
]
