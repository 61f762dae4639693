"""The backbone as one ONNX graph with preprocessing inside, exported once and kept in the cache.

Features for training, the exported model and its parity check all start from these same bytes.
"""

import hashlib
import io
import json
import logging
import shutil
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from webcam_ml.dataset.images import onnxruntime_version
from webcam_ml.errors import WebcamMLError
from webcam_ml.features._backbones import (
    NONCOMMERCIAL_LICENCES,
    WEIGHTS_IMAGENET,
    Backbone,
    get_backbone,
    load_weights,
    require_weights_file,
    weights_identity,
)
from webcam_ml.features._half import StoreWeights, round_weights, store_weights_as_fp16
from webcam_ml.features._skeletons import (
    UnlikeSkeletonError,
    fill_skeleton,
    read_skeleton,
    require_same,
)
from webcam_ml.features._spec import BackboneSpec

if TYPE_CHECKING:
    import onnx
    import torch

    from webcam_ml.features._network import Preprocess

logger = logging.getLogger(__name__)

OPSET = 20
GRAPH_FILE = "backbone.onnx"
STATE_FILE = "state.pt"
DIGESTS_FILE = "digests.json"


@dataclass(frozen=True)
class BackboneGraph:
    """An exported backbone.

    Attributes:
        key: Digest of everything that the export depends on; names its place in the cache.
        model: The ONNX bytes: `image` uint8 [batch, height, width, 3] → `features`, `channel_means`.
        state: The state dict's bytes as torch.save wrote them.
    """

    key: str
    model: bytes
    state: bytes

    @property
    def fingerprint(self) -> str:
        """Digest of the graph (weights, size, preprocessing, opset) and of the engine that runs it."""
        engine = f"onnxruntime {onnxruntime_version()}"
        return hashlib.sha256(hashlib.sha256(self.model).digest() + engine.encode()).hexdigest()

    def state_dict(self) -> "dict[str, torch.Tensor]":
        """Give the backbone's tensors."""
        import torch

        state: dict[str, torch.Tensor] = torch.load(io.BytesIO(self.state), weights_only=True)
        return state


def require_weights(spec: BackboneSpec) -> None:
    """Check size, licence, and the weights file if one is named, before anything is exported.

    Raises:
        WebcamMLError: The network is unknown or takes no such pictures, the weights are not for
            commercial use, or the file is missing, unsafe or of another network.
    """
    backbone = get_backbone(spec.model_name)
    backbone.require_size(spec.image_size)
    backbone.require_stages(spec.feature_stages)
    if spec.weights == WEIGHTS_IMAGENET and backbone.licence in NONCOMMERCIAL_LICENCES:
        if not spec.allow_noncommercial_weights:
            raise WebcamMLError(
                f"the weights of {backbone.name} may not be used commercially (licence "
                f"{backbone.licence}), and neither may a model on top of them. Choose another "
                "model_name, or set allow_noncommercial_weights: true if your use is none"
            )
        logger.warning("weights of %s: %s, no commercial use", backbone.name, backbone.licence)
    require_weights_file(backbone, spec.weights, image_size=spec.image_size)


def prepare_backbone(spec: BackboneSpec, *, cache: Path) -> BackboneGraph:
    """Take a backbone's graph from the cache, fill its skeleton, or export it (some ten seconds).

    Raises:
        WebcamMLError: The weights cannot be had.
    """
    identity = weights_identity(spec.weights, random_state=spec.random_state)
    backbone = get_backbone(spec.model_name)
    key = _key(spec, identity)
    cached = _read_cached(cache, key)
    if cached is not None:
        return cached
    logger.info("exporting %s (weights %s, %d px)", spec.model_name, identity, spec.image_size)
    network = load_weights(
        backbone,
        spec.weights,
        image_size=spec.image_size,
        random_state=spec.random_state,
        feature_stages=spec.feature_stages,
    )
    if spec.store_weights == "fp16":
        round_weights(network, spec.image_size)
    return _export_into(
        cache,
        key,
        network,
        backbone=backbone,
        image_size=spec.image_size,
        feature_stages=spec.feature_stages,
        store_weights=spec.store_weights,
    )


def restore_backbone(
    *,
    key: str,
    model_name: str,
    image_size: int,
    feature_stages: int,
    store_weights: StoreWeights,
    state: "Mapping[str, torch.Tensor]",
    cache: Path,
) -> BackboneGraph:
    """Take the graph of a checkpoint's backbone from the cache, or export it from its tensors."""
    cached = _read_cached(cache, key)
    if cached is not None:
        return cached
    logger.info("the cache has no graph of this %s: exporting it", model_name)
    backbone = get_backbone(model_name)
    network = backbone.build(image_size, feature_stages=feature_stages)
    network.load_state_dict(dict(state))
    return _export_into(
        cache,
        key,
        network,
        backbone=backbone,
        image_size=image_size,
        feature_stages=feature_stages,
        store_weights=store_weights,
    )


def adopt_backbone(
    state: "Mapping[str, torch.Tensor]", *, spec: BackboneSpec, cache: Path
) -> BackboneGraph:
    """Turn a state dict that was trained here into a graph that computes features.

    Its weights are rounded as those of any backbone, if `spec` says so: the tensors that count from
    here on are the graph's.

    Args:
        state: Its state dict; equal tensors give an equal graph.
        spec: What it was trained from.
        cache: Root of the caches; the graph is exported once and kept there.
    """
    backbone = get_backbone(spec.model_name)
    network = backbone.build(spec.image_size, feature_stages=spec.feature_stages)
    network.load_state_dict(dict(state))
    if spec.store_weights == "fp16":
        round_weights(network, spec.image_size)
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return restore_backbone(
        key=_key(spec, f"tuned:{digest.hexdigest()}"),
        model_name=spec.model_name,
        image_size=spec.image_size,
        feature_stages=spec.feature_stages,
        store_weights=spec.store_weights,
        state=network.state_dict(),
        cache=cache,
    )


def preprocessing(backbone: Backbone, image_size: int) -> "Preprocess":
    """Give the module that makes of pictures what a backbone takes: resizing and normalisation."""
    from webcam_ml.features._cubic import CubicPreprocess
    from webcam_ml.features._network import Preprocess

    kind = CubicPreprocess if backbone.interpolation == "bicubic" else Preprocess
    return kind(image_size, backbone.mean, backbone.std)


def _key(spec: BackboneSpec, identity: str) -> str:
    backbone = get_backbone(spec.model_name)
    # The exported code is part of the key: a changed preprocessing must not use old features.
    code = hashlib.sha256(Path(__file__).with_name("_network.py").read_bytes())
    if backbone.interpolation == "bicubic":
        code.update(Path(__file__).with_name("_cubic.py").read_bytes())
    if spec.feature_stages > 1:
        code.update(Path(__file__).with_name("_stages.py").read_bytes())
    if spec.store_weights == "fp16":
        code.update(Path(__file__).with_name("_half.py").read_bytes())
    skeleton = read_skeleton(backbone.name, spec.feature_stages)
    if skeleton is not None:
        code.update(Path(__file__).with_name("_skeletons.py").read_bytes())
        code.update(skeleton)
    content = {
        "model_name": backbone.name,
        "weights": identity,
        "image_size": spec.image_size,
        "store_weights": spec.store_weights,
        "stages": [spec.feature_stages, backbone.stages, backbone.channels_last],
        "mean": backbone.mean,
        "std": backbone.std,
        "opset": OPSET,
        "code": code.hexdigest(),
        "libraries": {name: metadata.version(name) for name in backbone.libraries},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def folder_of(cache: Path, key: str) -> Path:
    """Give the folder in which the cache keeps a graph."""
    return cache / "backbones" / key[:24]


def _read_cached(cache: Path, key: str) -> BackboneGraph | None:
    folder = folder_of(cache, key)
    try:
        digests = json.loads((folder / DIGESTS_FILE).read_bytes())
        model, state = (folder / GRAPH_FILE).read_bytes(), (folder / STATE_FILE).read_bytes()
        found = {GRAPH_FILE: _sha256(model), STATE_FILE: _sha256(state), "key": key}
    except FileNotFoundError:
        return None
    except ValueError:
        digests, found = None, {}
    if digests != found:
        logger.warning("%s is damaged: removed, and exported again", folder)
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return BackboneGraph(key=key, model=model, state=state)


def _export_into(
    cache: Path,
    key: str,
    network: "torch.nn.Module",
    *,
    backbone: Backbone,
    image_size: int,
    feature_stages: int,
    store_weights: StoreWeights,
) -> BackboneGraph:
    import onnx
    import torch

    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    preprocess = preprocessing(backbone, image_size)
    proto = _filled(network, preprocess, name=backbone.name, feature_stages=feature_stages)
    if proto is None:
        proto = onnx.load_from_string(export_features(network, preprocess))
    if store_weights == "fp16":
        store_weights_as_fp16(proto)
    model = serialise(proto)
    graph = BackboneGraph(key=key, model=model, state=buffer.getvalue())
    folder = folder_of(cache, key)
    try:
        _keep(graph, folder)
    except OSError as error:
        raise WebcamMLError(
            f"{folder} cannot be written: {error}. Free some space or make the folder writable "
            "(WEBCAM_ML_CACHE names it)"
        ) from error
    return graph


def _filled(
    network: "torch.nn.Module", preprocess: "Preprocess", *, name: str, feature_stages: int
) -> "onnx.ModelProto | None":
    skeleton = read_skeleton(name, feature_stages)
    if skeleton is None:
        return None
    try:
        proto = fill_skeleton(skeleton, network, preprocess.image_size)
        require_same(serialise(proto), network, preprocess)
    except UnlikeSkeletonError as error:
        logger.warning(
            "%s of the installed libraries is not the one that its skeleton was made from (%s): it is "
            "exported, which takes some ten seconds",
            name,
            error,
        )
        return None
    return proto


def _keep(graph: BackboneGraph, folder: Path) -> None:
    unfinished = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    unfinished.mkdir(parents=True)
    try:
        (unfinished / GRAPH_FILE).write_bytes(graph.model)
        (unfinished / STATE_FILE).write_bytes(graph.state)
        digests = {
            GRAPH_FILE: _sha256(graph.model),
            STATE_FILE: _sha256(graph.state),
            "key": graph.key,
        }
        (unfinished / DIGESTS_FILE).write_text(json.dumps(digests, indent=2) + "\n")
        try:
            unfinished.rename(folder)
        except OSError:
            # Another run was faster; its folder has the same content.
            if not (folder / DIGESTS_FILE).exists():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def export_features(network: "torch.nn.Module", preprocess: "Preprocess") -> bytes:
    """Export a network with its preprocessing: uint8 images → features and channel means."""
    from webcam_ml.features._network import FeatureNetwork

    module = FeatureNetwork(preprocess, network).eval()
    return export_graph(module, outputs=("features", "channel_means"))


def export_graph(module: "torch.nn.Module", *, outputs: tuple[str, ...]) -> bytes:
    """Export a module that takes uint8 images [batch, height, width, 3] of any size.

    Equal modules give equal bytes: what the exporter notes about files and lines is removed.

    Args:
        module: In evaluation mode; each output has the batch as its first dimension.
        outputs: Names of its outputs.

    Returns:
        One serialised ModelProto, opset 20, weights inside.
    """
    import torch

    # Sizes that cannot be mistaken for constants of the network, and a batch size other than 1.
    example = torch.zeros((2, 61, 83, 3), dtype=torch.uint8)
    exporter_logger = logging.getLogger("torch.onnx")
    level = exporter_logger.level
    exporter_logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                input_names=["image"],
                output_names=list(outputs),
                dynamic_shapes=({0: "batch", 1: "height", 2: "width"},),
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
    finally:
        exporter_logger.setLevel(level)
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    return serialise(program.model_proto)


def serialise(model: "onnx.ModelProto") -> bytes:
    """Serialise a model to the same bytes in every process, without notes about files and shapes.

    Raises:
        RuntimeError: The model is not of the opset that was asked for.
    """
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets.get("") != OPSET:
        raise RuntimeError(f"exported opset {opsets}, wanted {OPSET}")
    graph = model.graph
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for values in (graph.input, graph.output, graph.initializer):
        for value in values:
            value.doc_string = ""
            del value.metadata_props[:]
    # Shapes of what lies between, which runtimes find by themselves.
    graph.ClearField("value_info")
    graph.doc_string = ""
    del graph.metadata_props[:]
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
