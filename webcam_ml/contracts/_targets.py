"""The target types that there are."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from webcam_ml.contracts._binary import Binary
from webcam_ml.contracts._regression import Regression
from webcam_ml.contracts._target import Target

# For documents and configs, which spell the names out; a test compares them with `TARGETS`.
TargetType = Literal["binary", "regression"]

TARGETS: Mapping[TargetType, Target] = MappingProxyType(
    {target.name: target for target in (Binary(), Regression())}
)


def target_of(target_type: TargetType) -> Target:
    """Give what a model of this target type is asked."""
    return TARGETS[target_type]
