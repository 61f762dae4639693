"""How a network is fine-tuned, judged before anything runs, and on which devices.

A setting that Lightning has too bears Lightning's name. `_lightning` uses them.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from webcam_ml.contracts import Settings, Why
from webcam_ml.errors import WebcamMLError

Accelerator = Literal["auto", "cpu", "gpu"]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]

ALL_DEVICES = -1
MIN_CROP = 0.8
MAX_JITTER = 0.4
# Far beyond what diverges, and far below what overflows in an optimiser's float32.
MAX_LEARNING_RATE = 1e6


class FineTuneSettings(Settings):
    """How a network is fine-tuned from the probe's head on."""

    epochs: Annotated[int, Why("strategy: linear_probe trains none")] = Field(
        default=10, ge=1, description="At most so many passes over the training pictures"
    )
    patience: int = Field(
        default=3,
        ge=1,
        description="Stop after so many epochs in a row without a better validation metric",
    )
    batch_size: int = Field(default=32, ge=1, description="Pictures in one step of one device")
    learning_rate: float = Field(
        default=1e-4, gt=0, le=MAX_LEARNING_RATE, description="The highest, reached after warm-up"
    )
    weight_decay: float = Field(
        default=0.01, ge=0, description="AdamW's, on weights of convolutions and of the head"
    )
    warmup_epochs: float = Field(
        default=1.0,
        ge=0,
        description="Over how many epochs the learning rate rises; a cosine to zero follows. Less "
        "than epochs",
    )
    flip: float = Field(
        default=0.5, ge=0, le=1, description="Probability that a training picture is mirrored"
    )
    color_jitter: Annotated[float, Why("the colour of the sky is what is judged")] = Field(
        default=0.1,
        ge=0,
        le=MAX_JITTER,
        description="Brightness, contrast and saturation each change by up to this share",
    )
    min_crop: Annotated[float, Why("a smaller crop may cut off what the rating is about")] = Field(
        default=0.85,
        ge=MIN_CROP,
        le=1,
        description="Smallest share of a picture's area that a training crop keeps; 1: no crops",
    )
    accelerator: Accelerator = Field(
        default="auto", description="As in Lightning; auto: a GPU where there is one"
    )
    devices: int = Field(
        default=1, ge=ALL_DEVICES, description="How many, at least 1; -1 for all of the machine"
    )
    num_workers: int = Field(
        default=1,
        ge=1,
        # So what was trained before there were clusters keeps its version.
        exclude_if=lambda num_workers: num_workers == 1,
        description="With engine: ray, train in so many processes of the cluster, with a core or a GPU "
        "each; 1: on the run's own machine",
    )
    precision: Precision = Field(
        default="auto",
        description="As in Lightning; auto: bf16-mixed on GPUs that have it, else 32-true",
    )
    gradient_clip_val: float = Field(
        default=1.0,
        ge=0,
        description="As in Lightning: the largest norm of a step's gradient; 0: no limit",
    )
    accumulate_grad_batches: int = Field(
        default=1, ge=1, description="As in Lightning: batches whose gradients make one step"
    )

    @field_validator("warmup_epochs")
    @classmethod
    def _ends_before_training(cls, warmup_epochs: float, info: ValidationInfo) -> float:
        epochs = info.data.get("epochs")
        if epochs is None or warmup_epochs < epochs or warmup_epochs == epochs == 1:
            return warmup_epochs
        raise ValueError(
            f"warmup_epochs is {warmup_epochs:g}; it must be less than epochs, which is {epochs}"
        )

    @field_validator("devices")
    @classmethod
    def _some(cls, devices: int) -> int:
        if devices == 0:
            raise ValueError("devices is 0; it must be 1 or more, or -1 for all of the machine")
        return devices

    @field_validator("num_workers")
    @classmethod
    def _has_a_device_each(cls, num_workers: int, info: ValidationInfo) -> int:
        devices = info.data.get("devices", 1)
        if num_workers > 1 and devices != 1:
            raise ValueError(
                f"num_workers is {num_workers} and devices {devices}: each process of a cluster has one "
                "device. Leave devices out, and let num_workers say how many there are in all"
            )
        return num_workers


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a training runs on; part of what decides its numbers.

    Attributes:
        accelerator: `cpu` or `cuda`.
        devices: How many of them; of a cluster, those of all machines.
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


def needs_cluster(num_workers: int) -> str:
    """Say that so many processes are no matter of one machine."""
    return (
        f"num_workers is {num_workers}: so many processes train on a Ray cluster, and the engine is local. "
        "Set engine: ray (run config, or WEBCAM_ML_ENGINE), or take devices for those of this machine"
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
