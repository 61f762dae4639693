"""How a network is fine-tuned, judged before anything runs, and on which devices of this machine.

Names that Lightning has are Lightning's. What is done with them is in `_lightning`.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from webcam_ml.errors import WebcamMLError

Accelerator = Literal["auto", "cpu", "gpu"]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]

ALL_DEVICES = -1
MIN_CROP = 0.8
MAX_JITTER = 0.4
# Far beyond what diverges, and far below what overflows in an optimiser's float32.
MAX_LEARNING_RATE = 1e6


@dataclass(frozen=True, kw_only=True)
class FineTuneSettings:
    """How a network is fine-tuned from the probe's head on.

    Attributes:
        epochs: At most so many passes over the training pictures.
        patience: Stop after so many epochs in a row without a better validation metric.
        batch_size: Pictures in one step of one device.
        learning_rate: The highest, reached after warm-up.
        weight_decay: AdamW's, on weights of convolutions and of the head.
        warmup_epochs: Over how many epochs the learning rate rises; a cosine to zero follows.
        flip: Probability that a training picture is mirrored.
        color_jitter: Brightness, contrast and saturation each change by up to this share.
        min_crop: Smallest share of a picture's area that a training crop keeps; 1 for no crops.
        accelerator: As in Lightning; `auto` takes a GPU where there is one.
        devices: How many; -1 for all of the machine.
        precision: As in Lightning; `auto` is `bf16-mixed` on GPUs that have it, else `32-true`.
        gradient_clip_val: As in Lightning: the largest norm of a step's gradient; 0 for no limit.
        accumulate_grad_batches: As in Lightning: batches whose gradients make one step.

    Raises:
        WebcamMLError: A value makes no sense; the message names the setting.
    """

    epochs: int = 10
    patience: int = 3
    batch_size: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    warmup_epochs: float = 1.0
    flip: float = 0.5
    color_jitter: float = 0.1
    min_crop: float = 0.85
    accelerator: Accelerator = "auto"
    devices: int = 1
    precision: Precision = "auto"
    gradient_clip_val: float = 1.0
    accumulate_grad_batches: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot train, naming the setting."""
        for name, possible, limits in (
            ("epochs", self.epochs >= 1, "1 or more (strategy: linear_probe trains none)"),
            ("patience", self.patience >= 1, "1 or more"),
            ("batch_size", self.batch_size >= 1, "1 or more"),
            (
                "learning_rate",
                0 < self.learning_rate <= MAX_LEARNING_RATE,
                f"above 0 and at most {MAX_LEARNING_RATE:g}; 1e-4 is usual",
            ),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more; 0.01 is usual"),
            (
                "warmup_epochs",
                0 <= self.warmup_epochs < self.epochs or self.warmup_epochs == self.epochs == 1,
                f"from 0 to less than epochs, which is {self.epochs}",
            ),
            ("flip", 0 <= self.flip <= 1, "from 0 to 1, a probability"),
            (
                "color_jitter",
                0 <= self.color_jitter <= MAX_JITTER,
                f"from 0 to {MAX_JITTER}: the colour of the sky is what is judged",
            ),
            (
                "min_crop",
                MIN_CROP <= self.min_crop <= 1,
                f"from {MIN_CROP} to 1: a smaller crop may cut off what the rating is about",
            ),
            ("devices", self.devices == ALL_DEVICES or self.devices >= 1, "1 or more, or -1 (all)"),
            ("gradient_clip_val", 0 <= self.gradient_clip_val < math.inf, "0 (no limit) or more"),
            ("accumulate_grad_batches", self.accumulate_grad_batches >= 1, "1 or more"),
        ):
            if not possible:
                raise WebcamMLError(f"{name} {getattr(self, name):g} must be {limits}")
        for name, value, known in (
            ("accelerator", self.accelerator, get_args(Accelerator)),
            ("precision", self.precision, get_args(Precision)),
        ):
            if value not in known:
                raise WebcamMLError(f"{name} {value!r} is unknown: choose {' or '.join(known)}")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a training runs on; part of what decides its numbers.

    Attributes:
        accelerator: `cpu` or `cuda`.
        devices: How many of them.
        precision: One of Lightning's.
    """

    accelerator: Literal["cpu", "cuda"]
    devices: int
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]


def find_machine(settings: FineTuneSettings) -> Machine:
    """Find what the settings ask for on this machine.

    Raises:
        WebcamMLError: The machine lacks it.
    """
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if settings.accelerator == "gpu" and not gpus:
        raise WebcamMLError(
            "accelerator: gpu is asked for, and torch finds no CUDA device on this machine. Take "
            "accelerator: auto (a GPU where there is one) or cpu, or see why nvidia-smi or the "
            "CUDA build of torch is missing"
        )
    on_gpu = gpus > 0 and settings.accelerator != "cpu"
    devices = settings.devices
    if devices == ALL_DEVICES:
        devices = gpus if on_gpu else 1
    if on_gpu and devices > gpus:
        raise WebcamMLError(
            f"devices: {devices} are asked for, and this machine has {gpus} CUDA devices. Take at "
            "most so many, or devices: -1 for all of them"
        )
    return Machine(
        accelerator="cuda" if on_gpu else "cpu",
        devices=devices,
        precision=_precision(settings.precision, on_gpu=on_gpu),
    )


def _precision(asked: Precision, *, on_gpu: bool) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    import torch

    has_bf16 = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if asked == "auto":
        return "bf16-mixed" if has_bf16 else "32-true"
    if asked == "16-mixed" and not on_gpu:
        raise WebcamMLError("precision: 16-mixed needs a GPU: take bf16-mixed or 32-true")
    if asked == "bf16-mixed" and on_gpu and not has_bf16:
        raise WebcamMLError(
            "precision: bf16-mixed is asked for, and this GPU has no bfloat16: take 16-mixed or 32-true"
        )
    return asked
