"""What a user may choose, asset by asset; each class names the domain settings that it becomes.

Rules live in the domain settings, so that a notebook and a run refuse the same nonsense with the
same words. No `from __future__ import annotations` here: Dagster reads the annotations.
"""

from typing import Protocol, cast, runtime_checkable

from dagster import Config
from pydantic import Field

from webcam_ml.contracts import TARGETS
from webcam_ml.dataset import SplitConfig, TargetConfig
from webcam_ml.dataset.images import ImageSettings
from webcam_ml.disagreement import DisagreementSettings
from webcam_ml.errors import WebcamMLError
from webcam_ml.features import BACKBONES, OPSET, BackboneSpec, require_weights
from webcam_ml.judging import ComparisonSettings, WeakSlice
from webcam_ml.labels import LABEL_SOURCES, LabelQuery
from webcam_ml.training import FineTuneSettings, TrainingSettings, find_machine

SESSION_SOURCES = [source.name for source in LABEL_SOURCES.values() if source.takes_sessions]
MIN_BOOTSTRAP_SAMPLES = 200
MAX_BOOTSTRAP_SAMPLES = 100_000


@runtime_checkable
class AssetConfig(Protocol):
    """A config class of an asset: it becomes the settings that the domain function takes."""

    def settings(self) -> object:
        """Build the domain settings.

        Raises:
            WebcamMLError: A value makes no sense.
        """


class LabelsConfig(Config):
    """Which ratings count."""

    label_source: str = Field(
        default=LabelQuery.label_source,
        description="; ".join(
            f"{source.name}: {source.meaning}" for source in LABEL_SOURCES.values()
        )
        + ".",
    )
    min_rating_count: int = Field(
        default=LabelQuery.min_rating_count,
        description="Snapshots with fewer ratings drop out. On real data 2 keeps 2 % of them.",
    )
    curator_sessions: list[str] = Field(
        default_factory=list,
        description=f"With {' or '.join(SESSION_SOURCES)}: only ratings of these "
        "user_session_ids count.",
    )

    def settings(self) -> LabelQuery:
        """Build the query."""
        return LabelQuery(
            label_source=self.label_source,
            min_rating_count=self.min_rating_count,
            curator_sessions=tuple(self.curator_sessions),
        )


class ImagesConfig(Config):
    """Limits and manners of fetching pictures."""

    max_failed_fraction: float = Field(
        default=ImageSettings.max_failed_fraction,
        description="Share of pictures that may fail before the run stops.",
    )
    timeout_seconds: float = Field(
        default=ImageSettings.timeout_seconds, description="For one attempt at one picture."
    )
    max_bytes: int = Field(default=ImageSettings.max_bytes, description="Larger files are refused.")
    max_pixels: int = Field(
        default=ImageSettings.max_pixels, description="Larger pictures are refused undecoded."
    )
    attempts: int = Field(
        default=ImageSettings.attempts, description="Tries in one run, where a failure may pass."
    )
    concurrency: int = Field(
        default=ImageSettings.concurrency, description="Pictures fetched at the same time."
    )
    allow_private_addresses: bool = Field(
        default=ImageSettings.allow_private_addresses,
        description="Whether http(s) may reach loopback, link-local and private addresses.",
    )
    local_root: str | None = Field(
        default=ImageSettings.local_root,
        description="Folder outside which no local file is read, links followed; none: anywhere.",
    )

    def settings(self) -> ImageSettings:
        """Build the limits."""
        return ImageSettings(
            max_failed_fraction=self.max_failed_fraction,
            timeout_seconds=self.timeout_seconds,
            max_bytes=self.max_bytes,
            max_pixels=self.max_pixels,
            attempts=self.attempts,
            concurrency=self.concurrency,
            allow_private_addresses=self.allow_private_addresses,
            local_root=self.local_root,
        )


class ImageIndexConfig(ImagesConfig):
    """How pictures are fetched, and which of them count."""

    keep_placeholders: bool = Field(
        default=False,
        description='Whether "camera offline" cards are trained and judged on like pictures.',
    )


class ManifestConfig(Config):
    """What the model is asked, and how webcams are divided; chosen here and nowhere else."""

    target_type: str = Field(
        default=TargetConfig.target_type,
        description=f"{' or '.join(f'{one.name} ({one.question})' for one in TARGETS.values())}.",
    )
    binary_threshold: float = Field(
        default=TargetConfig.binary_threshold,
        description="In stars, on the scale of the ratings: above 1, at most 5.",
    )
    seed: int = Field(
        default=SplitConfig.seed,
        description="Of the split. Another seed is another division of all webcams.",
    )
    train_pct: int = Field(default=SplitConfig.train_pct, description="Percent of the webcams.")
    val_pct: int = Field(default=SplitConfig.val_pct, description="Percent of the webcams.")
    test_pct: int = Field(default=SplitConfig.test_pct, description="Percent of the webcams.")

    merge_duplicate_webcams: bool = Field(
        default=False,
        description="Whether webcams that show the same pictures go into one split. Fetches the "
        "pictures to find out.",
    )
    images: ImagesConfig = Field(
        default_factory=ImagesConfig,
        description="With merge_duplicate_webcams: how its pictures are fetched, as in image_index.",
    )

    def settings(self) -> tuple[TargetConfig, SplitConfig, ImageSettings | None]:
        """Build target, split and, if duplicates are to be merged, how to fetch their pictures."""
        images = self.images.settings()
        if not self.merge_duplicate_webcams and images != ImageSettings():
            raise WebcamMLError(
                "images has an effect on manifest_full only with merge_duplicate_webcams: true, "
                "because only then does it look at pictures. Those of all later steps are fetched as "
                "image_index says"
            )
        return (
            TargetConfig(
                target_type=self.target_type,  # type: ignore[arg-type]  # judged by TargetConfig
                binary_threshold=self.binary_threshold,
            ),
            SplitConfig(
                seed=self.seed,
                train_pct=self.train_pct,
                val_pct=self.val_pct,
                test_pct=self.test_pct,
            ),
            images if self.merge_duplicate_webcams else None,
        )


class FineTuneConfig(Config):
    """How a network is fine-tuned; names that Lightning has are Lightning's."""

    epochs: int = Field(default=FineTuneSettings.epochs, description="At most so many.")
    patience: int = Field(
        default=FineTuneSettings.patience,
        description="Stop after so many epochs in a row without a better validation metric.",
    )
    batch_size: int = Field(
        default=FineTuneSettings.batch_size, description="Pictures in one step of one device."
    )
    learning_rate: float = Field(
        default=FineTuneSettings.learning_rate, description="The highest, after warm-up."
    )
    weight_decay: float = Field(default=FineTuneSettings.weight_decay, description="Of AdamW.")
    warmup_epochs: float = Field(
        default=FineTuneSettings.warmup_epochs,
        description="Over how many the learning rate rises; then it falls as a cosine.",
    )
    flip: float = Field(
        default=FineTuneSettings.flip, description="Probability that a picture is mirrored."
    )
    color_jitter: float = Field(
        default=FineTuneSettings.color_jitter,
        description="By which share brightness, contrast and saturation change at most.",
    )
    min_crop: float = Field(
        default=FineTuneSettings.min_crop,
        description="Smallest share of the area that a crop keeps, 0.8 to 1; 1: no crops.",
    )
    accelerator: str = Field(
        default=FineTuneSettings.accelerator,
        description="auto (a GPU where there is one), cpu, gpu.",
    )
    devices: int = Field(
        default=FineTuneSettings.devices, description="How many; -1 for all of the machine."
    )
    precision: str = Field(
        default=FineTuneSettings.precision,
        description="auto (bf16-mixed on GPUs that have it), 32-true, bf16-mixed, 16-mixed.",
    )
    gradient_clip_val: float = Field(
        default=FineTuneSettings.gradient_clip_val,
        description="Largest norm of a step's gradient; 0: no limit.",
    )
    accumulate_grad_batches: int = Field(
        default=FineTuneSettings.accumulate_grad_batches,
        description="Batches whose gradients make one step.",
    )

    def settings(self) -> FineTuneSettings:
        """Build the settings."""
        return FineTuneSettings(**self.model_dump())


class CheckpointConfig(Config):
    """How the model is trained."""

    model_name: str = Field(
        default=BackboneSpec.model_name, description=f"One of {', '.join(BACKBONES)}."
    )
    weights: str = Field(
        default=BackboneSpec.weights,
        description="imagenet (downloaded by torchvision), none (seeded), or the path of a state dict.",
    )
    strategy: str = Field(
        default=TrainingSettings.strategy,
        description="linear_probe: a linear head on the frozen backbone. finetune: from there on "
        "backbone and head together, kept only if that is better on validation.",
    )
    image_size: int = Field(
        default=BackboneSpec.image_size,
        description="Side in pixels of the square that pictures are resized to.",
    )
    class_weight: str = Field(
        default=TrainingSettings.class_weight,
        description="none, or balanced to weigh the rarer class up while fitting.",
    )
    random_state: int = Field(
        default=BackboneSpec.random_state,
        description="Seed of folds, of weights: none, and of fine-tuning.",
    )
    finetune: FineTuneConfig = Field(
        default_factory=FineTuneConfig, description="With strategy: finetune, how."
    )

    def settings(self) -> TrainingSettings:
        """Build the training settings."""
        settings = TrainingSettings(
            backbone=BackboneSpec(
                model_name=self.model_name,
                weights=self.weights,
                image_size=self.image_size,
                random_state=self.random_state,
            ),
            strategy=self.strategy,  # type: ignore[arg-type]  # judged by TrainingSettings
            class_weight=self.class_weight,  # type: ignore[arg-type]  # likewise
            finetune=self.finetune.settings(),
        )
        # An hour of fetching pictures must not end at a file that was never there or is of another
        # network, or at a GPU that this machine does not have.
        require_weights(settings.backbone)
        if settings.strategy == "finetune":
            find_machine(settings.finetune)
        return settings


class EvaluationConfig(Config):
    """How the intervals of the metrics are made."""

    bootstrap_samples: int = Field(
        default=2000, description="Resamples of the webcams behind each interval."
    )

    def settings(self) -> int:
        """Give the number of resamples."""
        if self.bootstrap_samples < MIN_BOOTSTRAP_SAMPLES:
            raise WebcamMLError(
                f"bootstrap_samples {self.bootstrap_samples} is below {MIN_BOOTSTRAP_SAMPLES}: the "
                "standard error itself would be uncertain by more than 5 percent; 2000 take seconds"
            )
        if self.bootstrap_samples > MAX_BOOTSTRAP_SAMPLES:
            raise WebcamMLError(
                f"bootstrap_samples {self.bootstrap_samples} is above {MAX_BOOTSTRAP_SAMPLES}, which "
                "adds hours and no digit"
            )
        return self.bootstrap_samples


class ExportConfig(Config):
    """How the model file is written."""

    opset: int = Field(default=OPSET, description="ONNX opset; 20 has the antialiased resize.")

    def settings(self) -> int:
        """Give the opset."""
        if self.opset != OPSET:
            raise WebcamMLError(
                f"opset {self.opset} is not possible: the graph needs the antialiased Resize and is "
                f"tested with opset {OPSET}, which onnxruntime reads from 1.17 on"
            )
        return self.opset


class DisagreementConfig(Config):
    """What the disagreement report shows."""

    limit: int = Field(
        default=DisagreementSettings.limit, description="How many of the worst rows are listed."
    )
    ranking: str = Field(
        default=DisagreementSettings.ranking,
        description="expected_correction: how far the label would move if many more people rated; "
        "or abs_diff.",
    )
    predictions: str = Field(
        default=DisagreementSettings.predictions,
        description="model: what the candidate says, out-of-fold for train rows; database: what the "
        "application recorded, for auditing production.",
    )
    model_version: str = Field(
        default=DisagreementSettings.model_version,
        description="With predictions: database, whose records; empty: the live model's.",
    )
    record_inferences: bool = Field(
        default=DisagreementSettings.record_inferences,
        description="Write the candidate's scores into snapshot_ai_inferences under its own name.",
    )

    def settings(self) -> DisagreementSettings:
        """Build the settings of the report."""
        return DisagreementSettings(
            limit=self.limit,
            ranking=self.ranking,  # type: ignore[arg-type]  # judged by DisagreementSettings
            predictions=self.predictions,  # type: ignore[arg-type]  # likewise
            model_version=self.model_version.strip(),
            record_inferences=self.record_inferences,
        )


class ComparisonConfig(Config):
    """What a candidate must reach before it may replace the live model."""

    min_auc: float = Field(
        default=ComparisonSettings.min_auc, description="Binary: the least ROC AUC on test."
    )
    min_spearman: float = Field(
        default=ComparisonSettings.min_spearman,
        description="Regression: the least rank correlation on test.",
    )
    max_auc_loss: float = Field(
        default=ComparisonSettings.max_auc_loss,
        description="Binary: how much worse than the live model it may be, at 95 % confidence.",
    )
    max_mae_gain: float = Field(
        default=ComparisonSettings.max_mae_gain,
        description="Regression: the same for the mean absolute error, in stars.",
    )
    definition_change: str = Field(
        default=ComparisonSettings.definition_change,
        description="Why threshold, seed, percentages or whose ratings count differ from the live "
        "model's; goes into the ledger. Empty: such a difference is refused.",
    )
    max_test_rows_missing: float = Field(
        default=ComparisonSettings.max_test_rows_missing,
        description="Largest share of the test rows whose pictures could not be read.",
    )
    weak_slice: str = Field(
        default=ComparisonSettings.weak_slice,
        description="block keeps out a model that is clearly weak on a part of the test pictures; "
        "warn only says so.",
    )
    relaxed_because: str = Field(
        default=ComparisonSettings.relaxed_because,
        description="Why something here is looser than by default, or than what the live model was "
        "judged by; goes into the ledger. Empty: what is looser is refused.",
    )

    def settings(self) -> ComparisonSettings:
        """Build floors and margins; what is looser than by default needs its reason at once."""
        settings = ComparisonSettings(
            min_auc=self.min_auc,
            min_spearman=self.min_spearman,
            max_auc_loss=self.max_auc_loss,
            max_mae_gain=self.max_mae_gain,
            max_test_rows_missing=self.max_test_rows_missing,
            weak_slice=cast(WeakSlice, self.weak_slice),
            definition_change=self.definition_change,
            relaxed_because=self.relaxed_because,
        )
        settings.require_reason_if_looser()
        return settings


CONFIG_BY_ASSET: dict[str, type[Config]] = {
    "labels_raw": LabelsConfig,
    "manifest_full": ManifestConfig,
    "image_index": ImageIndexConfig,
    "checkpoint": CheckpointConfig,
    "eval_report": EvaluationConfig,
    "onnx_model": ExportConfig,
    "disagreement_report": DisagreementConfig,
    "champion_comparison": ComparisonConfig,
}
