from ._backbone_graph import (
    OPSET,
    BackboneGraph,
    adopt_backbone,
    export_graph,
    prepare_backbone,
    preprocessing,
    require_weights,
    restore_backbone,
    serialise,
)
from ._backbones import (
    BACKBONES,
    TIMM,
    WEIGHTS_IMAGENET,
    WEIGHTS_NONE,
    get_backbone,
    licence_of,
    weights_identity,
)
from ._cost import Cost, measure_cost
from ._features import Features, extract_features
from ._half import StoreWeights
from ._spec import AUTO, BackboneChoice, BackboneSpec
from ._weights_files import UNREADABLE

__all__ = [
    "AUTO",
    "BACKBONES",
    "OPSET",
    "TIMM",
    "UNREADABLE",
    "WEIGHTS_IMAGENET",
    "WEIGHTS_NONE",
    "BackboneChoice",
    "BackboneGraph",
    "BackboneSpec",
    "Cost",
    "Features",
    "StoreWeights",
    "adopt_backbone",
    "export_graph",
    "extract_features",
    "get_backbone",
    "licence_of",
    "measure_cost",
    "prepare_backbone",
    "preprocessing",
    "require_weights",
    "restore_backbone",
    "serialise",
    "weights_identity",
]
