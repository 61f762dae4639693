"""Fine-tuning from the probe's head on: what is trained, where its state is kept, what comes out.

Below ``<cache>/finetuning/<key>`` lies what one training needs to go on after a kill: the resized
pictures, the state after the last finished epoch, the best network so far. The key is a digest of
everything that decides the training, so no state ever meets other data or settings. When training is
over the outcome and the best network stay, and the same training asked for again is read from there.
"""

import hashlib
import json
import logging
import os
import pickle
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from webcam_ml.contracts import TargetType, target_of
from webcam_ml.dataset.images import Engine, ImageArray, ImageCache, work_ahead
from webcam_ml.errors import WebcamMLError
from webcam_ml.features import (
    UNREADABLE,
    BackboneGraph,
    BackboneSpec,
    get_backbone,
    preprocessing,
)
from webcam_ml.metrics import METRICS, make_sample, measure
from webcam_ml.progress import track
from webcam_ml.store import flush_file, flush_folder
from webcam_ml.training._finetune_files import (
    BEST_FILES,
    OUTCOME_FILE,
    PICTURES_FILE,
    STATE_FILE,
    best_file,
    load_state,
)
from webcam_ml.training._finetune_settings import FineTuneSettings, Machine, find_machine
from webcam_ml.training._probe import LinearHead
from webcam_ml.training._settings import ClassWeight

if TYPE_CHECKING:
    import torch

    from webcam_ml.training._lightning import FineTuning, Journal

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]
Decode = Callable[[str], ImageArray]

DECIDING_LIBRARIES = ("torch", "torchvision", "pytorch-lightning", "numpy", "pillow")
# The network that is trained is in the key of its graph.
DECIDING_MODULES = ("training/_finetune.py", "training/_lightning.py", "contracts/_losses.py")
ABANDONED_AFTER_DAYS = 14


@dataclass(frozen=True)
class FineTuneTask:
    """Where training starts, and the rows to learn from and to choose the epoch by.

    Attributes:
        graph: The backbone to start from.
        head: The head to start from, without calibration.
        spec: What the backbone is; its `random_state` seeds order and augmentation.
        digests: SHA-256 of each row's picture, training rows first.
        target: [rows] 0 or 1 (binary), ratings scaled to 0–1 (regression); a share where only a judge
            knows the row.
        train_rows: How many of the rows are for training.
        judged_weight: What each of the last of these counts, which only judges know, where a row of
            people counts 1.
        target_type: Its loss is trained on, its primary metric chooses the epoch.
        class_weight: `balanced` weighs both classes alike in the loss (binary only).
    """

    graph: BackboneGraph
    head: LinearHead
    spec: BackboneSpec
    digests: Sequence[str]
    target: Array
    train_rows: int
    target_type: TargetType
    class_weight: ClassWeight = "none"
    judged_weight: Array = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class FineTuned:
    """A training that is over.

    Attributes:
        backbone: State dict of the best epoch's backbone; None if training diverged.
        head: That epoch's head, without calibration; likewise.
        history: One entry an epoch: `epoch`, `train_loss`, `val_loss`, `val_metric`. Epoch 0 is the
            network with the probe's head, before training.
        best_epoch: The epoch with the best metric.
        stopped: Why training ended.
        diverged: Whether that is because the loss ran away.
        machine: What it ran on.
    """

    backbone: "Mapping[str, torch.Tensor] | None"
    head: LinearHead | None
    history: Sequence[Mapping[str, float | None]]
    best_epoch: int | None
    stopped: str
    diverged: bool
    machine: Machine


def fine_tune(
    task: FineTuneTask,
    *,
    settings: FineTuneSettings,
    images: ImageCache,
    cache: Path,
) -> FineTuned:
    """Train backbone and head together, or go on where a killed run stopped.

    Args:
        task: What to train from, on what.
        settings: How to train.
        images: Where the pictures are; with `num_workers` its engine has the cluster.
        cache: Root of the caches.

    Raises:
        WebcamMLError: The batch is larger than the data, the machine or the cluster lacks what is asked
            for, or workers died too often.
    """
    machine = machine_for(settings, images.engine)
    require_full_batch(task.train_rows, settings, machine)
    root = cache / "finetuning"
    root.mkdir(parents=True, exist_ok=True)
    folder = root / _key(task, settings, machine)[:24]
    with FileLock(root / f"{folder.name}.lock"):
        _remove_abandoned(root, keep=folder)
        folder.mkdir(exist_ok=True)
        outcome = _read_outcome(folder)
        if outcome is None:
            _store_pictures(folder, task, decode=images.decode)
            module = _module(folder, task, settings)
            if settings.num_workers == 1:
                from webcam_ml.training._lightning import Journal

                go_on(module, Journal(folder), machine=machine)
            else:
                from webcam_ml.training._ray_train import train_on_cluster

                train_on_cluster(module, folder, machine=machine, engine=images.engine)
            outcome = _read_outcome(folder)
            assert outcome is not None
        else:
            logger.info("this fine-tuning was done before: its outcome is read from %s", folder)
        os.utime(folder)
        backbone, head = (None, None) if outcome["diverged"] else _read_best(folder, outcome)
        for path in folder.iterdir():
            # What is only needed to go on, and what killed runs left half-written.
            if path.name != OUTCOME_FILE and not path.match(BEST_FILES):
                path.unlink()
    return FineTuned(
        backbone=backbone,
        head=head,
        history=outcome["history"],
        best_epoch=outcome["best_epoch"],
        stopped=outcome["stopped"],
        diverged=outcome["diverged"],
        machine=machine,
    )


def machine_for(settings: FineTuneSettings, engine: Engine) -> Machine:
    """Find what the settings ask for: on this machine, or with `num_workers` on the engine's cluster.

    Raises:
        WebcamMLError: It is not there, or the engine has no cluster.
    """
    if settings.num_workers == 1:
        return find_machine(settings)
    from webcam_ml.training._ray_train import machine_of_cluster

    return machine_of_cluster(settings, engine)


def require_full_batch(rows: int, settings: FineTuneSettings, machine: Machine) -> None:
    """Refuse a batch that the training rows cannot fill.

    Raises:
        WebcamMLError: `batch_size` is larger than a device's share of the rows.
    """
    share = rows // machine.devices
    if share < settings.batch_size:
        shared = f", {share} for each of {machine.devices} devices" if machine.devices > 1 else ""
        raise WebcamMLError(
            f"batch_size {settings.batch_size} is more than the {rows} training pictures{shared}: "
            f"set it to {share} or less, or rate more snapshots"
        )


def validation_metric(value: Array, *, target: Array, target_type: TargetType) -> float:
    """Measure values of validation rows by the metric that chooses the epoch.

    Args:
        value: [rows] log-odds (binary) or ratings of 0–1 (regression).
        target: [rows] 0 or 1, or ratings of 0–1.
        target_type: Whose primary metric, on its scale of targets.
    """
    asked = target_of(target_type)
    sample = make_sample(asked.prediction(target), asked.measurable(value), np.zeros(len(target)))
    measured = measure(METRICS[asked.primary_metric], sample).value
    return float("nan") if measured is None else measured


def go_on(
    module: "FineTuning",
    journal: "Journal",
    *,
    machine: Machine,
    group: Mapping[str, Any] | None = None,
) -> None:
    """Train from where the journal's folder says that it was, or from the start.

    Args:
        module: The network as it is before training, and what it learns from.
        journal: Records, and writes to its folder.
        machine: Where to train.
        group: As for `fit`.
    """
    from webcam_ml.training._lightning import fit

    state = _read_state(journal.folder)
    if state is not None:
        journal.load_state_dict(state["journal"])
    if journal.stopped is not None:
        # Killed after its last epoch, before it could say so.
        journal.write_outcome()
        return
    if state is not None:
        logger.info("fine-tuning goes on after epoch %d", state["epochs_done"])
        module.go_on(state)
    fit(module, journal, machine=machine, group=group)


def _read_state(folder: Path) -> dict[str, Any] | None:
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        return load_state(path)
    except (pickle.UnpicklingError, *UNREADABLE) as error:
        logger.warning("%s is damaged (%s): fine-tuning starts anew", path, error)
        return None


def _module(folder: Path, task: FineTuneTask, settings: FineTuneSettings) -> "FineTuning":
    import torch

    from webcam_ml.training._lightning import FineTuning, TrainingRows

    entry = get_backbone(task.spec.model_name)
    backbone = entry.build(task.spec.image_size, feature_stages=task.spec.feature_stages)
    backbone.load_state_dict(task.graph.state_dict())
    with torch.random.fork_rng(devices=[]):
        head = torch.nn.Linear(len(task.head.weight), 1)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(task.head.weight)[None])
        head.bias.fill_(task.head.bias)
    asked = target_of(task.target_type)
    rows = TrainingRows(
        pictures=folder / PICTURES_FILE,
        target=task.target.astype(np.float32),
        weight=_weights(task),
        asked=asked,
        metric=partial(
            validation_metric,
            target=task.target[task.train_rows :],
            target_type=task.target_type,
        ),
        higher_is_better=asked.higher_is_better,
    )
    return FineTuning(
        backbone,
        head,
        normalisation={"mean": entry.mean, "std": entry.std},
        rows=rows,
        settings=settings,
        random_state=task.spec.random_state,
    )


def _weights(task: FineTuneTask) -> npt.NDArray[np.float32]:
    target = task.target[: task.train_rows]
    people = task.train_rows - len(task.judged_weight)
    weight = np.concatenate([np.ones(people), task.judged_weight])
    if target_of(task.target_type).has_classes and task.class_weight == "balanced":
        share = float(target[:people].mean())
        weight *= target * (0.5 / share) + (1.0 - target) * (0.5 / (1.0 - share))
    return weight.astype(np.float32)


def _store_pictures(folder: Path, task: FineTuneTask, *, decode: Decode) -> None:
    """Decode and resize each picture once, for all epochs and all devices.

    That takes 2 ms of a core for a picture 640 pixels wide, reading it back a hundredth of that. A
    step of a CPU takes ten times as long, but a GPU would wait.
    """
    import torch

    path = folder / PICTURES_FILE
    if path.exists():
        return
    rows_of: dict[str, list[int]] = {}
    for row, digest in enumerate(task.digests):
        rows_of.setdefault(digest, []).append(row)
    size = task.spec.image_size
    preprocess = preprocessing(get_backbone(task.spec.model_name), size)
    unfinished = folder / f".{PICTURES_FILE}.{uuid.uuid4().hex}.tmp"
    stored = np.lib.format.open_memmap(
        unfinished, mode="w+", dtype=np.uint8, shape=(len(task.digests), 3, size, size)
    )
    with closing(work_ahead(list(rows_of), decode)) as pictures:
        for digest, picture in track(
            pictures, total=len(rows_of), what="pictures for fine-tuning", unit="pictures"
        ):
            resized = preprocess.resize(torch.from_numpy(picture)[None])[0]
            stored[rows_of[digest]] = resized.round().clamp(0, 255).to(torch.uint8).numpy()
    stored.flush()
    del stored
    flush_file(unfinished)
    unfinished.rename(path)
    flush_folder(folder)


def _read_outcome(folder: Path) -> dict[str, Any] | None:
    try:
        outcome: dict[str, Any] = json.loads((folder / OUTCOME_FILE).read_bytes())
    except FileNotFoundError:
        return None
    return outcome


def _read_best(
    folder: Path, outcome: Mapping[str, Any]
) -> "tuple[Mapping[str, torch.Tensor], LinearHead]":
    state = load_state(best_file(folder, outcome["best_epoch"]))
    backbone = {
        # Training keeps its own order of memory, which would show in the bytes of best.pt.
        name.removeprefix("backbone."): tensor.contiguous()
        for name, tensor in state.items()
        if name.startswith("backbone.")
    }
    head = LinearHead(
        state["head.weight"][0].numpy().astype(np.float64), float(state["head.bias"][0])
    )
    return backbone, head


def _remove_abandoned(root: Path, *, keep: Path) -> None:
    """Free what trainings left that nobody has asked for in weeks."""
    oldest = time.time() - ABANDONED_AFTER_DAYS * 86_400
    for folder in root.iterdir():
        if folder != keep and folder.is_dir() and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)


def _key(task: FineTuneTask, settings: FineTuneSettings, machine: Machine) -> str:
    """Digest of everything that decides a training."""
    package = Path(__file__).parents[1]
    content = {
        "graph": task.graph.key,
        "head": [_digest(task.head.weight.tobytes()), task.head.bias],
        "pictures": _digest("\n".join(task.digests).encode()),
        "target": _digest(task.target.tobytes()),
        "train_rows": task.train_rows,
        "judged_weight": _digest(task.judged_weight.tobytes()),
        "random_state": task.spec.random_state,
        "target_type": task.target_type,
        "class_weight": task.class_weight,
        "settings": settings.model_dump(),
        "machine": asdict(machine),
        "code": [_digest((package / name).read_bytes()) for name in DECIDING_MODULES],
        "libraries": {name: metadata.version(name) for name in DECIDING_LIBRARIES},
    }
    return _digest(json.dumps(content, sort_keys=True).encode())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
