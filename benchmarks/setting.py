"""What the rows share: sizes, the working folder, demo data, pretrained weights, a project."""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import REPOSITORY, Ran, run

DAGSTER = Path(sys.executable).with_name("dagster")
WEBCAM_ML = Path(sys.executable).with_name("webcam-ml")


@dataclass(frozen=True)
class Setting:
    """Sizes and places of one run of the benchmarks.

    Attributes:
        folder: Where everything is made; deleted first by the runner, weights aside.
        weights: State dict of a resnet18; made if missing.
        results: Folder of what is kept: results.json and the plots.
        quick: Everything once at a small size, to see that it works.
    """

    folder: Path
    weights: Path
    results: Path
    quick: bool

    @property
    def repeats(self) -> int:
        """How often what is cheap is repeated."""
        return 1 if self.quick else 5

    @property
    def image_size(self) -> int:
        return 64 if self.quick else 224

    @property
    def snapshots(self) -> int:
        """Rated snapshots of the demo; a few have no picture."""
        return 160 if self.quick else 900

    @property
    def grown_snapshots(self) -> int:
        """After 5 percent more labels."""
        return round(1.05 * self.snapshots)

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.folder / 'demo' / 'labels.sqlite'}"

    def make_demo(self, snapshots: int) -> None:
        """Draw the demo, or the pictures that it has gained."""
        run(
            WEBCAM_ML, "demo-data", "--folder", self.folder / "demo",
            "--webcams", str(60 if self.quick else 240),
            "--snapshots", str(snapshots),
            "--image-width", str(96 if self.quick else 640),
        )  # fmt: skip

    def make_weights(self) -> None:
        """Pretrain a resnet18 on disjoint drawn cameras, or (quick) write a random one."""
        if self.weights.exists():
            return
        self.weights.parent.mkdir(parents=True, exist_ok=True)
        if self.quick:
            script = (
                "import sys, torch, torchvision; torch.manual_seed(0); "
                "torch.save(torchvision.models.resnet18().state_dict(), sys.argv[1])"
            )
            run(sys.executable, "-c", script, self.weights)
        else:
            run(sys.executable, REPOSITORY / "benchmarks/pretrain.py", "--output", self.weights)

    def finished_project(self) -> "Project":
        """A project in which everything has run once, caches full; made when first asked for."""
        folder = self.folder / "finished"
        project = Project(folder, self, folder / "cache")
        if not (project.folder / "done").exists():
            self.make_weights()
            self.make_demo(self.snapshots)
            self.project("finished").materialize()
            (project.folder / "done").touch()
        return project

    def project(
        self, name: str, *, cache: Path | None = None, pixels: int | None = None
    ) -> "Project":
        """Make an empty project folder: no run, no artifact, and nothing cached unless given."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        home = folder / "home"
        home.mkdir(parents=True)
        for file in ("dagster.yaml", "workspace.yaml"):
            shutil.copy(REPOSITORY / file, home)
        project = Project(folder, self, cache or folder / "cache", pixels=pixels)
        # As `make install` does: two processes that meet an empty storage would trip.
        run(
            sys.executable, "-c",
            "from dagster import DagsterInstance; DagsterInstance.get().get_runs(limit=1)",
            env=project.environment, cwd=home,
        )  # fmt: skip
        return project


@dataclass(frozen=True)
class Project:
    """A folder with a Dagster instance, an artifact store and caches of its own."""

    folder: Path
    setting: Setting
    cache: Path
    more: Mapping[str, str] = field(default_factory=dict)
    pixels: int | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DAGSTER_HOME": str(self.folder / "home"),
            "WEBCAM_ML_ARTIFACTS": str(self.artifacts),
            "WEBCAM_ML_CACHE": str(self.cache),
            "DATABASE_URL": self.setting.database_url,
            **self.more,
        }

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    @property
    def image_size(self) -> int:
        return self.pixels or self.setting.image_size

    def config(self) -> dict[str, object]:
        """Run config: the one thing that differs from the defaults are the weights (and the size)."""
        checkpoint = {
            "model_name": "resnet18",
            "weights": str(self.setting.weights),
            "image_size": self.image_size,
        }
        return {"ops": {"checkpoint": {"config": checkpoint}}}

    @property
    def select(self) -> str:
        """Everything; a quick run has too few test rows for the gates, and stops before them."""
        return "*disagreement_report" if self.setting.quick else "*"

    def materialize(self) -> Ran:
        """What a user types, from an empty shell to the end of the run."""
        return run(
            DAGSTER, "asset", "materialize", "-m", "webcam_ml.definitions",
            "--select", self.select, "--config-json", json.dumps(self.config()),
            env=self.environment, cwd=self.folder / "home",
        )  # fmt: skip

    @property
    def backbone(self) -> Path:
        """The exported backbone with preprocessing inside."""
        (found,) = self.cache.glob("backbones/*/backbone.onnx")
        return found

    def pictures(self) -> list[Path]:
        """Files of the distinct pictures that the run could use, in the order of their digests."""
        import polars as pl

        index = pl.read_csv(self.latest("image_index") / "image_index.csv")
        usable = index.filter(pl.col("status") == "ok").unique("sha256").sort("sha256")
        return [Path(source) for source in usable["source"]]

    def latest(self, asset: str) -> Path:
        """Folder of the newest version of an asset."""
        pointer = json.loads((self.artifacts / asset / "latest.json").read_text())
        return self.artifacts / asset / str(pointer["version"])
