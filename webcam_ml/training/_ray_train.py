"""Fine-tuning by several processes of a Ray cluster: Ray Train around the loop of `_lightning`.

The machines share no disk. The network and the pictures go to them through Ray's object store, and what each
epoch leaves (see `_finetune_files`) comes back to the run, through a coordinator on the head of the cluster,
which also has it for the processes that are started after one died. Each of them works in a folder of its
own, as if the training were alone on its machine.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from webcam_ml.dataset.images import Engine, RayEngine, import_ray, installed
from webcam_ml.errors import WebcamMLError
from webcam_ml.store import write_atomically
from webcam_ml.training._finetune_files import BEST_FILES, OUTCOME_FILE, PICTURES_FILE, STATE_FILE
from webcam_ml.training._finetune_settings import (
    FineTuneSettings,
    Machine,
    find_machine,
    needs_cluster,
)

if TYPE_CHECKING:
    import ray

    from webcam_ml.training._lightning import FineTuning

logger = logging.getLogger(__name__)

Files = Mapping[str, bytes]

# An epoch in which processes died so often, without one that was finished in between, is given up.
ATTEMPTS = 4
SECONDS_BETWEEN_LOOKS = 1.0
# For a GPU that is in use, and the start of a process beside it.
SECONDS_TO_GET_A_GPU = 120.0
LIBRARIES = ("torch", "torchvision", "pytorch-lightning")
# Only the head has it, and without the head there is no cluster.
HEAD = {"node:__internal_head__": 0.001}
# Ends with the number of the process that the folder is of.
FOLDERS = "webcam-ml-finetuning-"
KEPT = "Epochs that were finished are kept, and the next run goes on after them"


def machine_of_cluster(settings: FineTuneSettings, engine: Engine) -> Machine:
    """Find what the settings ask for on the engine's cluster.

    Raises:
        WebcamMLError: The engine has no cluster, or the cluster no room, or no GPU that is free.
    """
    number = settings.num_workers
    if not isinstance(engine, RayEngine):
        raise WebcamMLError(needs_cluster(number))
    ray = engine.cluster()
    import_ray_train()
    each = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cores = sum(int(one.get("CPU", 0)) for one in each)
    gpus = sum(int(min(one.get("CPU", 0), one.get("GPU", 0))) for one in each)
    on_gpu = settings.accelerator == "gpu" or (settings.accelerator == "auto" and gpus > 0)
    room, what = (gpus, "GPUs with a core") if on_gpu else (cores, "cores")
    if room < number:
        raise WebcamMLError(
            f"num_workers: {number} are asked for, and the Ray cluster ({engine.where}) offers {room} "
            f"{what}. Start more machines (`ray start --address …`), take at most so many"
            + (", or take accelerator: cpu" if on_gpu else "")
        )
    alone = settings.model_copy(
        update={"num_workers": 1, "accelerator": "gpu" if on_gpu else "cpu"}
    )
    if not on_gpu:
        return replace(find_machine(alone), devices=number)
    with _explaining(engine):
        # Which precision a GPU has, only a process beside it can tell.
        task = ray.remote(find_machine).options(num_cpus=1, num_gpus=1)
        asked = task.remote(alone)
        try:
            machine: Machine = ray.get(asked, timeout=SECONDS_TO_GET_A_GPU)
        except ray.exceptions.GetTimeoutError as error:
            raise WebcamMLError(
                f"num_workers: the Ray cluster ({engine.where}) gave no GPU with a core within "
                f"{SECONDS_TO_GET_A_GPU:.0f} seconds: others use all of them (`ray status`). Wait for them, "
                "start more machines (`ray start --address …`), or take accelerator: cpu"
            ) from error
    return replace(machine, devices=number)


def import_ray_train() -> Any:
    """Import Ray Train, which needs more than Ray's core.

    Raises:
        WebcamMLError: It is not installed.
    """
    try:
        import ray.train
    except ImportError as error:
        raise WebcamMLError(
            f"num_workers needs Ray Train, which cannot be loaded here ({error}): pip install "
            "'webcam-ml[ray]' on all machines"
        ) from error
    return ray.train


def train_on_cluster(
    module: "FineTuning", folder: Path, *, machine: Machine, engine: Engine
) -> None:
    """Train until the outcome is in the folder, from where the folder says that it was.

    Args:
        module: The network as it is before training, and what it learns from.
        folder: Of the training; after each epoch it has what there is to go on from.
        machine: What of the cluster to train on.
        engine: Has the cluster.

    Raises:
        WebcamMLError: Processes died too often, or the cluster was lost.
    """
    assert isinstance(engine, RayEngine)
    ray = engine.cluster()
    logger.info(
        "fine-tuning by %d processes of the Ray cluster (%s)", machine.devices, engine.where
    )
    pictures = np.asarray(np.load(folder / PICTURES_FILE, mmap_mode="r"))
    with _explaining(engine):
        # In a list, or Ray would bring it to the coordinator, too.
        held = [ray.put((module, pictures))]
        coordinator = (
            ray.remote(Coordinator)
            .options(num_cpus=0, resources=HEAD, max_concurrency=2)
            .remote(_read(folder))
        )
        running = coordinator.train.remote(held, machine, _versions())
        try:
            done: list[Any] = []
            while not done:
                done, _ = ray.wait([running], timeout=SECONDS_BETWEEN_LOOKS)
                news: News = ray.get(coordinator.news.remote())
                for level, line in news.lines:
                    logger.log(level, "%s", line)
                if news.files is not None:
                    _write(folder, news.files)
            ray.get(running)
        finally:
            # All that it started ends with it; where it was interrupted, Ray keeps the cores reserved until
            # this process ends, too. Without a head there is nothing left, and Ray would look for a cluster.
            if ray.is_initialized():
                ray.kill(coordinator)


@dataclass(frozen=True)
class News:
    """What happened since the run asked last.

    Attributes:
        lines: What the first process logged, each with its level.
        files: What the last epoch left; None: there was none.
    """

    lines: list[tuple[int, str]]
    files: Files | None


class Coordinator:
    """An actor between the run and the processes that train.

    Args:
        files: What there is to go on from.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._attempt = 0
        self._lines: list[tuple[int, str]] = []
        self._new = False
        self._refusal: str | None = None

    def train(
        self, held: "list[ray.ObjectRef[Any]]", machine: Machine, versions: Mapping[str, str]
    ) -> None:
        """Train to the end, and start all processes again where one died.

        Raises:
            WebcamMLError: That happened too often, or a process refused to train.
        """
        train = import_ray_train()
        from ray.exceptions import RayError
        from ray.train.torch import TorchTrainer

        from webcam_ml.training._ray_network import ClusterNetwork

        me = import_ray().get_runtime_context().current_actor
        scaling = train.ScalingConfig(
            num_workers=machine.devices,
            use_gpu=machine.accelerator == "cuda",
            resources_per_worker={"CPU": 1} | ({"GPU": 1} if machine.accelerator == "cuda" else {}),
        )
        failed = 0
        with own_folder() as nothing:
            while True:
                self._attempt += 1
                files = self._files
                part = Part(me, self._attempt, files, held, machine, versions)
                trainer = TorchTrainer(
                    train_part,
                    train_loop_config={"part": part},
                    torch_config=ClusterNetwork(),
                    scaling_config=scaling,
                    # Which failures are worth another attempt is decided below.
                    run_config=train.RunConfig(
                        storage_path=str(nothing),
                        failure_config=train.FailureConfig(
                            max_failures=0, controller_failure_limit=0, max_preemption_failures=0
                        ),
                    ),
                )
                try:
                    trainer.fit()
                    return
                except RayError as error:
                    # What it reserved stays so until the run's process ends, so another finds no room.
                    raise WebcamMLError(
                        f"Ray Train's controller died ({_last_line(error)}): it is on the head. "
                        f"Has that enough memory? {KEPT}"
                    ) from None
                except train.TrainingFailedError as error:
                    if self._refusal is not None:
                        raise WebcamMLError(self._refusal) from None
                    failed = failed + 1 if self._files is files else 1
                    why = _why(error, machine)
                if failed == ATTEMPTS:
                    raise WebcamMLError(
                        f"fine-tuning on the Ray cluster failed {ATTEMPTS} times in one epoch, the last time "
                        f"because {why}. {KEPT}. The logs of the machines (/tmp/ray/session_latest/logs) "
                        "say more"
                    )
                self.say(logging.WARNING, f"fine-tuning starts its processes again: {why}")

    def keep(self, attempt: int, files: Files) -> None:
        """Take what an epoch left; nothing of processes that were given up."""
        if attempt == self._attempt:
            self._files, self._new = files, True

    def say(self, level: int, line: str) -> None:
        """Take a line for the run's log."""
        self._lines.append((level, line))

    def refuse(self, why: str) -> None:
        """Take the reason for which a process does not train, which another attempt would not change."""
        self._refusal = why

    def news(self) -> News:
        """Give what happened since it was asked last."""
        new, self._new = self._new, False
        lines = self._lines[:]
        del self._lines[: len(lines)]
        return News(lines, self._files if new else None)


@dataclass(frozen=True)
class Part:
    """What each process of an attempt gets.

    Attributes:
        coordinator: The actor.
        attempt: Its number, from 1.
        files: What there is to go on from.
        held: The network and the pictures, in Ray's object store.
        machine: On what all processes train.
        versions: What the run has installed.
    """

    coordinator: Any
    attempt: int
    files: Files
    held: "list[ray.ObjectRef[Any]]"
    machine: Machine
    versions: Mapping[str, str]


def train_part(config: Mapping[str, Part]) -> None:
    """Train in one process of several; called by Ray Train in each.

    Raises:
        WebcamMLError: Something is installed here in another version than where the run is.
    """
    part = config["part"]
    ray, train = import_ray(), import_ray_train()
    here = _versions()
    unlike = [name for name in here if here[name] != part.versions[name]]
    if unlike:
        refusal = (
            "a machine of the Ray cluster has "
            f"{', '.join(f'{name} {here[name]}' for name in unlike)}, and this process "
            f"{', '.join(f'{name} {part.versions[name]}' for name in unlike)}: its numbers could differ. "
            "Install the same there (pip install -c constraints.txt), and start it anew"
        )
        ray.get(part.coordinator.refuse.remote(refusal))
        raise WebcamMLError(refusal)

    # It has no types.
    lightning = import_module("ray.train.lightning")

    from webcam_ml.training._finetune import go_on
    from webcam_ml.training._lightning import Journal

    is_first = train.get_context().get_world_rank() == 0
    with own_folder() as folder, _telling(part.coordinator if is_first else None):
        _write(folder, part.files)

        def share() -> None:
            if is_first:
                ray.get(part.coordinator.keep.remote(part.attempt, _read(folder)))

        module, pictures = ray.get(part.held[0])
        module.rows = replace(module.rows, pictures=pictures)
        go_on(
            module,
            Journal(folder, share=share),
            machine=part.machine,
            group={
                "devices": 1 if part.machine.accelerator == "cpu" else "auto",
                "strategy": lightning.RayDDPStrategy(),
                "plugins": [lightning.RayLightningEnvironment()],
            },
        )


@contextmanager
def own_folder() -> Iterator[Path]:
    """Give a folder of this process, which ends with it; what processes left that were killed is removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*-*"):
        process = left.name.removeprefix(FOLDERS).partition("-")[0]
        if process.isdecimal() and not _is_alive(int(process)):
            # Others look here, too, and may be first.
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{FOLDERS}{os.getpid()}-") as name:
        yield Path(name)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # and somebody else's
    return True


def _read(folder: Path) -> Files:
    paths = [folder / STATE_FILE, *folder.glob(BEST_FILES), folder / OUTCOME_FILE]
    return {path.name: path.read_bytes() for path in paths if path.exists()}


def _write(folder: Path, files: Files) -> None:
    # What says where the training was comes after what it needs then.
    for name in sorted(files, key=(STATE_FILE, OUTCOME_FILE).__contains__):
        write_atomically(folder / name, files[name])
    for path in folder.glob(BEST_FILES):
        if path.name not in files:
            path.unlink()


def _versions() -> dict[str, str]:
    """Name what is installed; builds of one version for a GPU and without are alike."""
    return installed() | {name: metadata.version(name).partition("+")[0] for name in LIBRARIES}


@contextmanager
def _telling(coordinator: Any) -> Iterator[None]:
    """Send what is logged to the coordinator, if there is one."""
    if coordinator is None:
        yield
        return

    class Telling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            coordinator.say.remote(record.levelno, self.format(record))

    package = logging.getLogger("webcam_ml")
    package.setLevel(logging.INFO)
    handler = Telling()
    package.addHandler(handler)
    try:
        yield
    finally:
        package.removeHandler(handler)


def _why(error: Exception, machine: Machine) -> str:
    """Say in some words why processes could not train, or no longer."""
    failures = list(getattr(error, "worker_failures", {}).values())
    if not failures:
        return (
            f"the cluster had no room for {machine.devices} processes (was a machine lost?), or they did not "
            f"start ({_last_line(error)})"
        )
    # When one dies, the others fail because they no longer reach it.
    died = sum(hasattr(one, "health_check_failure") for one in failures)
    if died:
        return f"{died} of {machine.devices} processes died, or were lost with their machine"
    return f"a process failed ({_last_line(failures[0])})"


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


@contextmanager
def _explaining(engine: RayEngine) -> Iterator[None]:
    """Turn Ray's errors into sentences, and give back what the cluster said in sentences."""
    from ray import exceptions

    try:
        yield
    # The second is what a client from outside raises.
    except (exceptions.RayError, ConnectionError) as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, WebcamMLError):
            raise cause from None
        what = "was lost in the middle of" if cause is None else "failed at"
        raise WebcamMLError(
            f"the Ray cluster ({engine.where}) {what} fine-tuning ({_last_line(error)}). {KEPT}"
        ) from error
