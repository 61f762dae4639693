"""The training loop of fine-tuning, in PyTorch Lightning; nothing else imports Lightning.

Import this module only where a network is trained. Everything random hangs on (seed, epoch, batch),
never on how far a random stream has come, so an epoch is the same whether or not the run was
interrupted before it. What is kept between epochs are tensors and plain values, written whole and
read with ``weights_only=True``.
"""

import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from webcam_ml.contracts import Target
from webcam_ml.progress import track
from webcam_ml.store import write_atomically
from webcam_ml.training._finetune_files import (
    BEST_FILES,
    OUTCOME_FILE,
    STATE_FILE,
    best_file,
    save_state,
)
from webcam_ml.training._finetune_settings import FineTuneSettings, Machine

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

# A mean loss above this many times that of a constant prediction is no training any more.
DIVERGED_FACTOR = 10.0
LUMA = (0.299, 0.587, 0.114)
QUIET = ("pytorch_lightning", "lightning_fabric")


@dataclass(frozen=True)
class TrainingRows:
    """What is learned from, and how it is judged.

    Attributes:
        pictures: uint8 [rows, 3, size, size], training rows first; or an .npy of them.
        target: float32 [rows], 0 or 1 (binary) or ratings scaled to 0–1 (regression).
        weight: float32 [training rows], how much each counts in the loss.
        asked: Whose loss is trained on.
        metric: From values [validation rows] to the metric that chooses the epoch.
        higher_is_better: Of that metric.
    """

    pictures: Path | npt.NDArray[np.uint8]
    target: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]
    asked: Target
    metric: Callable[[Array], float]
    higher_is_better: bool

    @property
    def train_rows(self) -> int:
        """How many rows are for training; the others validate."""
        return len(self.weight)

    @property
    def constant_loss(self) -> float:
        """Loss of the best constant prediction of the training rows."""
        target = self.target[: self.train_rows].astype(np.float64)
        return self.asked.constant_loss(target, self.weight)


class Pictures(Dataset[Batch]):
    """Rows of a task; those of a file are read from the disk when they are needed."""

    def __init__(self, rows: TrainingRows, first: int, end: int) -> None:
        self._rows, self._first, self._end = rows, first, end
        self._stored: npt.NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return self._end - self._first

    def __getitem__(self, index: int) -> Batch:
        if self._stored is None:
            kept = self._rows.pictures
            self._stored = np.load(kept, mmap_mode="r") if isinstance(kept, Path) else kept
        row = self._first + index
        weight = self._rows.weight[row] if row < self._rows.train_rows else np.float32(1.0)
        return (
            torch.from_numpy(self._stored[row].copy()),
            torch.tensor(self._rows.target[row]),
            torch.tensor(weight),
        )


class EpochSampler(DistributedSampler[Batch]):
    """Each device's share of the rows, in an order that hangs on seed and epoch."""

    def __init__(self, dataset: Dataset[Batch], *, epochs_done: int, **options: Any) -> None:
        super().__init__(dataset, **options)
        self._epochs_done = epochs_done
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Lightning counts epochs from where it began."""
        super().set_epoch(self._epochs_done + epoch)


class FineTuning(LightningModule):
    """A backbone and its head; the state dict is theirs and nothing else."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        backbone: torch.nn.Module,
        head: torch.nn.Linear,
        *,
        normalisation: Mapping[str, Sequence[float]],
        rows: TrainingRows,
        settings: FineTuneSettings,
        random_state: int,
    ) -> None:
        super().__init__()
        # In this order of memory convolutions are fastest; the numbers are the same.
        self.backbone = backbone.to(memory_format=torch.channels_last)
        self.head = head
        self.rows, self.settings, self.random_state = rows, settings, random_state
        self.epochs_done = 0
        self._optimizer_state: Mapping[int, Any] | None = None
        self.values: list[torch.Tensor] = []
        self.losses: list[torch.Tensor] = []
        for name, numbers in normalisation.items():
            scaled = 255.0 * torch.tensor(numbers).view(1, 3, 1, 1)
            self.register_buffer(name, scaled, persistent=False)
        self.train()

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Take the state after the last finished epoch.

        Lightning's own way to resume restores the counters of its loops and infers from them where
        it was. Here training begins anew with fewer epochs to go: order, augmentation and learning
        rate hang on the epoch's number alone, so nothing has to be inferred.
        """
        self.load_state_dict(state["network"])
        self._optimizer_state = state["optimizer"]
        self.epochs_done = state["epochs_done"]

    @property
    def epoch(self) -> int:
        """Number of the epoch that is going on, from 0, whoever did those before."""
        return self.epochs_done + self.current_epoch

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Give log-odds or ratings of 0–1: float [batch, 3, size, size] on 0–255 → [batch]."""
        normalised = (pictures - self.mean) / self.std
        normalised = normalised.contiguous(memory_format=torch.channels_last)
        value: torch.Tensor = self.head(self.backbone(normalised)).squeeze(1)
        return value

    def train(self, mode: bool = True) -> Self:
        """Switch to training, except for the statistics of batch normalisation.

        They stay what they were, so that the first step starts exactly at the probe: statistics of
        a batch would change every feature under the head that was fitted to them.
        """
        super().train(mode)
        for part in self.backbone.modules():
            if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
                part.eval()
        return self

    def loss(self, value: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Weighted mean of the rows' losses."""
        each = self.rows.asked.torch_loss(value.to(torch.float32), target)
        return (each * weight).sum() / weight.sum()

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """One batch, changed a little."""
        pictures, target, weight = batch
        seed = seed_of(self.random_state, self.epoch, self.global_rank, batch_idx)
        # For layers with dropout.
        torch.manual_seed(seed)
        with torch.autocast(self.device.type, enabled=False):
            pictures = augment(pictures.to(torch.float32), self.settings, seed=seed)
        return self.loss(self(pictures), target, weight)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """One batch as it is."""
        pictures, target, weight = batch
        value = self(pictures.to(torch.float32)).to(torch.float32)
        self.values.append(value.cpu())
        self.losses.append(self.loss(value, target, weight).cpu() * len(target))

    def on_validation_epoch_start(self) -> None:
        """Forget the values of the epoch before."""
        self.values.clear()
        self.losses.clear()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches in an order that hangs on seed and epoch; each device has its share."""
        pictures = Pictures(self.rows, 0, self.rows.train_rows)
        sampler = EpochSampler(
            pictures,
            epochs_done=self.epochs_done,
            num_replicas=self.trainer.world_size,
            rank=self.trainer.global_rank,
            seed=self.random_state,
            drop_last=True,
        )
        # A last batch of a few pictures would weigh as much as a full one.
        return DataLoader(pictures, self.settings.batch_size, sampler=sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """All validation rows, on every device: they then agree on the metric."""
        pictures = Pictures(self.rows, self.rows.train_rows, len(self.rows.target))
        return DataLoader(pictures, self.settings.batch_size)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW; the learning rate rises linearly and falls as a cosine, step by step."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        # Offsets and the scales of batch normalisation are no weights that could grow too large.
        groups: list[dict[str, Any]] = [
            {"params": [p for p in parameters if p.ndim > 1]},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            groups, lr=self.settings.learning_rate, weight_decay=self.settings.weight_decay
        )
        if self._optimizer_state is not None:
            # What AdamW remembers of the gradients; its groups and rates are as above.
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": self._optimizer_state, "param_groups": groups})
        to_go = self.settings.epochs - self.epochs_done
        steps = int(self.trainer.estimated_stepping_batches) // to_go
        rising = round(steps * self.settings.warmup_epochs)

        def share(step: int) -> float:
            done = steps * self.epochs_done
            return share_of_rate(step + done, steps=steps * self.settings.epochs, rising=rising)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class Journal(Callback):
    """What each epoch brought; keeps the best network and the state to go on from.

    Args:
        folder: Where both are written.
        share: Called when something was; by default nobody is told.

    Attributes:
        history: One entry an epoch; epoch 0 is the network before training.
        best_epoch: The one with the best metric, of equals the first; 0 is never chosen.
        stopped: Why training ended; None while it goes on.
        diverged: Whether that is because the loss ran away.
    """

    def __init__(self, folder: Path, *, share: Callable[[], None] | None = None) -> None:
        self.folder = folder
        self._share = share
        self.history: list[dict[str, float | None]] = []
        self.best_epoch: int | None = None
        self.stopped: str | None = None
        self.diverged = False
        self._losses: list[float] = []
        self._progress: Iterator[int] = iter(())

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "history": self.history,
            "best_epoch": self.best_epoch,
            "stopped": self.stopped,
            "diverged": self.diverged,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them back."""
        self.__dict__.update(state_dict)

    def write_outcome(self) -> None:
        """Say that training is over, and how it went."""
        content = json.dumps(self.state_dict(), indent=2, allow_nan=False) + "\n"
        write_atomically(self.folder / OUTCOME_FILE, content.encode())
        self._tell()

    def _tell(self) -> None:
        if self._share is not None:
            self._share()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the outcome in the folder: with several devices, nothing else comes back."""
        if trainer.is_global_zero and self.stopped is not None:
            self.write_outcome()

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note where training starts: all validation rows by the probe's head."""
        self._note(pl_module, epoch=0, train_loss=None)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the progress display of the epoch."""
        assert isinstance(pl_module, FineTuning)
        self._losses = []
        total = int(trainer.num_training_batches)
        what = f"fine-tuning, epoch {pl_module.epoch + 1} of at most {pl_module.settings.epochs}"
        if trainer.is_global_zero:
            self._progress = track(range(total), total=total, what=what, unit="batches")
            next(self._progress, None)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Watch the loss."""
        assert isinstance(pl_module, FineTuning)
        loss = float(trainer.strategy.reduce(outputs["loss"].detach(), reduce_op="mean"))
        self._losses.append(loss)
        next(self._progress, None)
        limit = DIVERGED_FACTOR * pl_module.rows.constant_loss
        recent = float(np.mean(self._losses[-3:]))
        if not recent < limit:
            self._give_up(
                trainer,
                f"diverged in epoch {pl_module.epoch + 1}, batch {batch_idx + 1}: the loss is "
                f"{recent:.3g}, and predicting the same for every picture has "
                f"{pl_module.rows.constant_loss:.3g}",
                settings=pl_module.settings,
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the epoch, keep what is needed to go on from it."""
        assert isinstance(pl_module, FineTuning)
        for _ in self._progress:
            pass
        if self.diverged:
            return
        settings, epoch = pl_module.settings, pl_module.epoch + 1
        entry = self._note(pl_module, epoch=epoch, train_loss=float(np.mean(self._losses)))
        if entry["val_metric"] is None:
            # The step that did it came after the last loss of the epoch.
            self._give_up(
                trainer,
                f"diverged in epoch {epoch}: what the network says of the validation pictures is "
                "no number any more",
                settings=settings,
            )
            return
        if self._is_best(entry, higher_is_better=pl_module.rows.higher_is_better):
            self.best_epoch = epoch
            if trainer.is_global_zero:
                save_state(pl_module.state_dict(), best_file(self.folder, epoch))
        assert self.best_epoch is not None
        waited = epoch - self.best_epoch
        if epoch == settings.epochs:
            self.stopped = f"all {settings.epochs} epochs are done"
        elif waited >= settings.patience:
            self.stopped = (
                f"no epoch after {self.best_epoch} was better, in {waited} epochs (patience)"
            )
            trainer.should_stop = True
        if trainer.is_global_zero:
            state = {
                "epochs_done": epoch,
                "network": pl_module.state_dict(),
                "optimizer": trainer.optimizers[0].state_dict()["state"],
                "journal": self.state_dict(),
            }
            save_state(state, self.folder / STATE_FILE)
            for path in self.folder.glob(BEST_FILES):
                if path != best_file(self.folder, self.best_epoch):
                    path.unlink()
            self._tell()

    def _note(
        self, pl_module: LightningModule, *, epoch: int, train_loss: float | None
    ) -> dict[str, float | None]:
        assert isinstance(pl_module, FineTuning)
        value = torch.cat(pl_module.values).numpy().astype(np.float64)
        finite = bool(np.isfinite(value).all())
        entry: dict[str, float | None] = {
            "epoch": epoch,
            "train_loss": None if train_loss is None else round(train_loss, 6),
            "val_loss": _rounded(float(sum(pl_module.losses)) / len(value)),
            "val_metric": _rounded(pl_module.rows.metric(value)) if finite else None,
        }
        self.history.append(entry)
        logger.info(
            "epoch %d: training loss %s, validation loss %s, validation metric %s",
            epoch,
            *(_shown(entry[name]) for name in ("train_loss", "val_loss", "val_metric")),
        )
        return entry

    def _is_best(self, entry: Mapping[str, float | None], *, higher_is_better: bool) -> bool:
        if self.best_epoch is None:
            return True
        before, now = self.history[self.best_epoch]["val_metric"], entry["val_metric"]
        assert before is not None
        assert now is not None
        return now > before if higher_is_better else now < before

    def _give_up(self, trainer: Trainer, what: str, *, settings: FineTuneSettings) -> None:
        self.diverged = True
        self.stopped = (
            f"{what}. learning_rate {settings.learning_rate:g} is too high: try a tenth of it"
        )
        trainer.should_stop = True


def fit(
    module: FineTuning,
    journal: Journal,
    *,
    machine: Machine,
    group: Mapping[str, Any] | None = None,
) -> None:
    """Train until the journal says why it stopped.

    Args:
        module: The network and what it learns from.
        journal: Records, and writes to its folder.
        machine: Where to train.
        group: Lightning's `devices`, `strategy` and `plugins` in one process of several that were started
            elsewhere; None: for several devices, Lightning starts them.
    """
    settings = module.settings
    if group is None:
        # Lightning's usual way starts the whole command again for each device, and that command is
        # a Dagster run.
        strategy = "auto" if machine.devices == 1 else "ddp_spawn"
        group = {"devices": machine.devices, "strategy": strategy}
    with _quietly(), _global_state_left_alone(machine):
        Trainer(
            accelerator=machine.accelerator,
            precision=machine.precision,
            max_epochs=settings.epochs - module.epochs_done,
            gradient_clip_val=settings.gradient_clip_val or None,
            accumulate_grad_batches=settings.accumulate_grad_batches,
            deterministic=True,
            use_distributed_sampler=False,
            # Measures the probe before training, on all validation rows.
            num_sanity_val_steps=-1 if module.epochs_done == 0 else 0,
            callbacks=[journal],
            default_root_dir=journal.folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **group,
        ).fit(module)


def augment(pictures: torch.Tensor, settings: FineTuneSettings, *, seed: int) -> torch.Tensor:
    """Mirror, crop and tint pictures a little, each in its own way; equal seeds give equal results.

    Args:
        pictures: float [batch, 3, size, size] on 0–255.
        settings: `flip`, `min_crop` and `color_jitter`; without any of them nothing changes.
        seed: Of everything that is drawn.
    """
    count = len(pictures)
    random = np.random.default_rng(seed)
    mirrored = random.random(count) < settings.flip
    side = np.sqrt(random.uniform(settings.min_crop, 1.0, count))
    offset = random.uniform(-1.0, 1.0, (2, count)) * (1.0 - side)
    factor = random.uniform(-1.0, 1.0, (3, count)) * settings.color_jitter + 1.0

    def on_device(values: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(pictures.device)

    if settings.min_crop < 1.0 or mirrored.any():
        transform = np.zeros((count, 2, 3))
        transform[:, 0, 0] = np.where(mirrored, -side, side)
        transform[:, 1, 1] = side
        transform[:, :, 2] = offset.T
        grid = functional.affine_grid(
            on_device(transform), list(pictures.shape), align_corners=False
        )
        pictures = functional.grid_sample(
            pictures, grid, mode="bilinear", padding_mode="border", align_corners=False
        )
    if settings.color_jitter > 0:
        brightness, contrast, saturation = on_device(factor)[:, :, None, None, None]
        pictures = pictures * brightness
        luma = torch.tensor(LUMA, device=pictures.device).view(1, 3, 1, 1)
        grey = (pictures * luma).sum(dim=1, keepdim=True)
        mean = grey.mean(dim=(2, 3), keepdim=True)
        pictures = mean + contrast * (grey + saturation * (pictures - grey) - mean)
        pictures = pictures.clamp(0.0, 255.0)
    return pictures


def share_of_rate(step: int, *, steps: int, rising: int) -> float:
    """Share of the highest learning rate at a step: a line up, then half a cosine down to zero."""
    if step < rising:
        return (step + 1) / (rising + 1)
    progress = (step - rising) / max(1, steps - rising)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def seed_of(*key: int) -> int:
    """Give one thing (an epoch, a batch) a seed of its own."""
    return int(np.random.SeedSequence(key).generate_state(1)[0])


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep Lightning's advertisements and hints out of the logs of a run."""
    levels = {name: logging.getLogger(name).level for name in QUIET}
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pytorch_lightning\.")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _global_state_left_alone(machine: Machine) -> Iterator[None]:
    """Undo what training sets for the whole process."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    devices = list(range(torch.cuda.device_count())) if machine.accelerator == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.use_deterministic_algorithms(deterministic)


def _rounded(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
