"""Where things are: the label database, the artifact store and the caches, from the environment."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dagster import ConfigurableResource
from pydantic import Field

from webcam_ml.store import CACHE_VARIABLE, STORE_VARIABLE, ArtifactStore, cache_from_env

if TYPE_CHECKING:
    from webcam_ml.dataset.images import ImageCache
    from webcam_ml.labels import LabelDatabase


class LabelDatabaseResource(ConfigurableResource["LabelDatabaseResource"]):
    """The label database that DATABASE_URL names; looked up when it is first needed."""

    def connect(self) -> "LabelDatabase":
        """Give the database.

        Raises:
            WebcamMLError: DATABASE_URL is not set, or is not a URL of a known kind.
        """
        from webcam_ml.labels import LabelDatabase

        return LabelDatabase.from_env()


class Workspace(ConfigurableResource["Workspace"]):
    """Places of the project: immutable artifacts, and caches that may be deleted at any time."""

    artifacts: str = Field(
        default="",
        description=f"Artifact store, a folder or s3://…; empty: ${STORE_VARIABLE}, else artifacts.",
    )
    cache: str = Field(
        default="", description=f"Root of the caches; empty: ${CACHE_VARIABLE}, else cache."
    )
    engine: str = Field(
        default="",
        description="Who computes what is made of pictures: local (threads of the run) or ray; empty: "
        "$WEBCAM_ML_ENGINE, else local.",
    )
    ray_address: str = Field(
        default="",
        description="With engine: ray: host:port, ray://host:port or auto; empty: $WEBCAM_ML_RAY_ADDRESS, "
        "else a cluster that is started on this machine and ends with the run.",
    )
    ray_num_gpus: float = Field(
        default=0.0,
        description="With engine: ray: the part of a GPU that each task gets; 0: a core and none.",
    )

    @cached_property
    def store(self) -> ArtifactStore:
        """The versioned store."""
        return ArtifactStore.at(self.artifacts) if self.artifacts else ArtifactStore.from_env()

    @property
    def cache_folder(self) -> Path:
        """Root of the caches."""
        return Path(self.cache).absolute() if self.cache else cache_from_env()

    @property
    def engine_name(self) -> str:
        """Which engine: local or ray."""
        from webcam_ml.dataset.images import engine_name

        return engine_name(self.engine)

    @cached_property
    def images(self) -> "ImageCache":
        """Pictures by content, and who computes what is made of them."""
        from webcam_ml.dataset.images import ImageCache, open_engine

        engine = open_engine(self.engine, address=self.ray_address, num_gpus=self.ray_num_gpus)
        return ImageCache(self.cache_folder, engine, remote=self.store.remote)
