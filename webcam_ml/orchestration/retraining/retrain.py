"""What a retrain is: the run config of the job and how much growth is enough, from the environment.

`sensors` decides when to start one, by the rules of `webcam_ml.labels`.
"""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml

from webcam_ml.dataset import TargetConfig
from webcam_ml.errors import WebcamMLError
from webcam_ml.labels import GrowthSettings, LabelQuery
from webcam_ml.orchestration.config import ManifestSettings
from webcam_ml.orchestration.guard import fields_for, judge_run_config
from webcam_ml.project import CONFIGS

CONFIG_VARIABLE = "WEBCAM_ML_RETRAIN_CONFIG"
MIN_NEW_LABELS_VARIABLE = "WEBCAM_ML_RETRAIN_MIN_NEW_LABELS"
GROWTH_FRACTION_VARIABLE = "WEBCAM_ML_RETRAIN_GROWTH_FRACTION"
MIN_INTERVAL_VARIABLE = "WEBCAM_ML_RETRAIN_MIN_INTERVAL_SECONDS"

NumberT = TypeVar("NumberT", int, float)


@dataclass(frozen=True)
class Retrain:
    """What a retrain does, and how much growth is enough for one.

    Attributes:
        run_config: Of the job, as the file has it.
        query: Which labels the run will read; read out of the run config.
        target: What its model will predict; likewise.
        growth: How much the labels must have grown.
    """

    run_config: Mapping[str, Any]
    query: LabelQuery
    target: TargetConfig
    growth: GrowthSettings

    @classmethod
    def from_environment(cls, *, assets: Collection[str]) -> Self:
        """Read the file that WEBCAM_ML_RETRAIN_CONFIG names, and the thresholds.

        Args:
            assets: Names of all assets in the graph.

        Raises:
            WebcamMLError: The file is missing or not right, or a threshold makes no sense; the
                message names the file or the variable.
        """
        path = retrain_config()
        run_config = _read(path)
        try:
            judge_run_config(run_config, assets=assets, selected=None)
        except WebcamMLError as error:
            raise WebcamMLError(f"{path}: {error}") from None
        manifest = ManifestSettings(**fields_for("manifest_full", run_config))
        return cls(
            run_config=run_config,
            query=LabelQuery(**fields_for("labels_raw", run_config)),
            target=manifest.part(TargetConfig),
            growth=_growth(),
        )


def retrain_config() -> Path:
    """Name the file with the run config of a retrain, absolute."""
    return Path(os.environ.get(CONFIG_VARIABLE) or CONFIGS / "retrain.yaml").absolute()


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WebcamMLError(
            f"the run config of the retrain cannot be read: {path}: {error.strerror}. Set "
            f"{CONFIG_VARIABLE} to the path of a file like configs/retrain.yaml"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise WebcamMLError(f"{path} is no YAML: {error}") from None
    if not isinstance(content, Mapping) or not isinstance(content.get("ops", {}), Mapping):
        raise WebcamMLError(
            f"{path} is no run config: it must begin with ops:, like configs/retrain.yaml"
        )
    return content


def _growth() -> GrowthSettings:
    defaults = GrowthSettings()
    try:
        return GrowthSettings(
            min_new_labels=_number(MIN_NEW_LABELS_VARIABLE, int, defaults.min_new_labels),
            growth_fraction=_number(GROWTH_FRACTION_VARIABLE, float, defaults.growth_fraction),
            min_interval=timedelta(
                seconds=_number(MIN_INTERVAL_VARIABLE, float, defaults.min_interval.total_seconds())
            ),
        )
    except (OverflowError, ValueError) as error:
        raise WebcamMLError(
            f"{error}. It is set by {MIN_NEW_LABELS_VARIABLE}, {GROWTH_FRACTION_VARIABLE} or "
            f"{MIN_INTERVAL_VARIABLE}."
        ) from None


def _number(variable: str, kind: Callable[[str], NumberT], default: NumberT) -> NumberT:
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    try:
        return kind(text)
    except ValueError:
        raise WebcamMLError(f"{variable} is {text!r}, which is no number.") from None
