from ._backbone_graph import (
    OPSET,
    BackboneGraph,
    BackboneSpec,
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
    get_backbone,
    licence_of,
    weights_identity,
)
from ._features import Features, extract_features
from ._half import StoreWeights
from ._weights_files import UNREADABLE

__all__ = [
    "BACKBONES",
    "OPSET",
    "UNREADABLE",
    "BackboneGraph",
    "BackboneSpec",
    "Features",
    "StoreWeights",
    "adopt_backbone",
    "export_graph",
    "extract_features",
    "get_backbone",
    "licence_of",
    "prepare_backbone",
    "preprocessing",
    "require_weights",
    "restore_backbone",
    "serialise",
    "weights_identity",
]
