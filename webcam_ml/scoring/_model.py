"""A model file that was checked before it was believed, and the session that runs it.

The chain of trust: the digest in model.meta.json covers every byte of model.onnx, the file refers
to nothing outside itself, both name the same version, and inputs and outputs are those of the
contract. A model that fails any of this never gets to speak; what happens instead is `_scorer`'s.
"""

import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar, cast

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from webcam_ml.contracts import TARGETS, TargetType
from webcam_ml.scoring._files import NotARegularFileError, open_regular_file
from webcam_ml.scoring._onnx_file import ModelError, check_self_contained
from webcam_ml.scoring._score import BASELINE_VERSION

META_NAME = "model.meta.json"
META_SCHEMA_VERSION = 1
OUTPUTS = ("raw_score", "ai_rating")
MAX_META_BYTES = 2**20
MAX_MODEL_BYTES = 2**31
"""What a protocol buffer can hold, and so the largest ONNX file without others beside it."""

RUN_SECONDS = 30.0
"""After so long a run is ended; a 33-megapixel picture takes about one second on a slow core."""

_T = TypeVar("_T")

# onnxruntime's exceptions share no base class but Exception.
_RUNTIME_FAULTS: tuple[type[Exception], ...] = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
    ValueError,
    MemoryError,
)


@dataclass(frozen=True)
class Head:
    """What answers one question.

    Attributes:
        model_version: The name under which its scores are stored.
        target_type: ``binary`` or ``regression``.
        decision_threshold: The raw score from which it says yes; None for regression, and for a
            model that was loaded without verification.
    """

    model_version: str
    target_type: TargetType
    decision_threshold: float | None


class OnnxModel:
    """A verified model, loaded once; safe to use from several threads.

    Attributes:
        model_version: The name under which its scores are stored.
        target_type: ``binary`` or ``regression``.
        decision_threshold: The raw score from which the model says yes; None for regression, and
            for a model that was loaded without verification.
        heads: All that the file answers: one head, which the attributes above repeat, or in a file
            with both heads also that of the other question.
        path: The file that was loaded, absolute, symbolic links resolved.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, *, path: Path, heads: tuple[Head, ...]
    ) -> None:
        first = heads[0]
        self._session = session
        self.path = path
        self.model_version = first.model_version
        self.target_type: TargetType = first.target_type
        self.decision_threshold = first.decision_threshold
        self.heads = heads

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, threads: int | None = None, verify: bool = True
    ) -> Self:
        """Check a model file and load it.

        Args:
            path: The ONNX file; its model.meta.json lies in the same folder.
            threads: Threads inside one run; None leaves the number to onnxruntime (all cores).
            verify: False skips model.meta.json, for a model that does not have one yet. The
                checks of the file itself stay.

        Raises:
            ModelError: The model is missing, damaged, not the one that model.meta.json describes,
                refers to other files, uses operators outside the standard, or has other inputs or
                outputs than the contract.
        """
        # Resolved once: a promotion may swing the link between reading the two files.
        file = _resolve(Path(path))
        data = _read(file, max_bytes=MAX_MODEL_BYTES)
        described = _verify(data, file.with_name(META_NAME)) if verify else ()
        check_self_contained(data)
        session = _start(data, file, threads)
        several = [head.target_type for head in described] if len(described) > 1 else []
        _check_signature(session, several)
        stamps: dict[str, str] = session.get_modelmeta().custom_metadata_map
        stamped = _stamped_identity(stamps)
        for name, beside in _named_in(described).items():
            if stamps.get(name) != beside:
                raise ModelError(
                    f"{file.name} says {name} {stamps.get(name)!r}, {META_NAME} says {beside!r}; "
                    "export the model again"
                )
        return cls(session, path=file, heads=described or (stamped,))

    def score_array(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score a batch of pictures of one size.

        Args:
            batch: [batch, height, width, 3], uint8, RGB, any size.

        Returns:
            The raw scores, [batch], float32, 0 to 1; of a file with both heads the first one's.

        Raises:
            ValueError, ModelError: As for `score_heads`.
        """
        return self.score_heads(batch)[self.target_type]

    def score_heads(self, batch: NDArray[np.uint8]) -> dict[TargetType, NDArray[np.float32]]:
        """Score a batch of pictures of one size by every head, in one run of the model.

        Args:
            batch: [batch, height, width, 3], uint8, RGB, any size.

        Returns:
            Of each head the raw scores, [batch], float32, 0 to 1.

        Raises:
            ValueError: The batch has another type or shape.
            ModelError: The model failed, or gave something else than numbers from 0 to 1.
        """
        if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[3] != 3 or not batch.size:
            raise ValueError(
                "a batch is uint8 [batch, height, width, 3] and not empty; "
                f"this one is {batch.dtype} {list(batch.shape)}"
            )
        options = onnxruntime.RunOptions()
        watch = threading.Timer(RUN_SECONDS, setattr, (options, "terminate", True))
        watch.daemon = True
        watch.start()
        types = [head.target_type for head in self.heads]
        outputs = ["raw_score", *(f"{other}_raw_score" for other in types[1:])]
        try:
            found = self._session.run(outputs, {"image": batch}, options)
        except _RUNTIME_FAULTS as fault:
            said = f"ended after {RUN_SECONDS:g} seconds" if options.terminate else str(fault)
            raise ModelError(f"{self.model_version} failed while running: {said}") from fault
        finally:
            watch.cancel()
        for head, raw_scores in zip(self.heads, found, strict=True):
            if raw_scores.shape != batch.shape[:1]:
                raise ModelError(
                    f"{head.model_version} gave raw_score {list(raw_scores.shape)} "
                    f"for {len(batch)} pictures"
                )
            if not ((raw_scores >= 0) & (raw_scores <= 1)).all():  # False for NaN too
                raise ModelError(f"{head.model_version} gave a raw_score outside 0 to 1, or none")
        return cast("dict[TargetType, NDArray[np.float32]]", dict(zip(types, found, strict=True)))


def model_files(path: str | os.PathLike[str]) -> str:
    """Say which model.onnx and model.meta.json a path leads to, without reading them.

    Returns:
        A text that is another one as soon as a link is swung or a file is exchanged; why there are no
        such files, if there are none.
    """
    try:
        file = Path(path).resolve(strict=True)
        states = [file.stat(), file.with_name(META_NAME).stat()]
    except (OSError, RuntimeError) as fault:  # RuntimeError: links that go round in circles
        return str(fault)
    return f"{file} " + " ".join(
        f"{state.st_dev} {state.st_ino} {state.st_size} {state.st_mtime_ns}" for state in states
    )


def _resolve(path: Path) -> Path:
    try:
        file = path.resolve(strict=True)
    except (OSError, RuntimeError) as fault:  # RuntimeError: links that go round in circles
        raise ModelError(f"there is no model at {path.absolute()}") from fault
    if file.is_dir():
        raise ModelError(f"{path} is a folder; name the file in it, {path / 'model.onnx'}")
    return file


def _read(file: Path, *, max_bytes: int) -> bytes:
    try:
        opened, status = open_regular_file(file)
        with opened:
            if status.st_size > max_bytes:
                raise ModelError(
                    f"{file} has {status.st_size:,} bytes; at most {max_bytes:,} are read"
                )
            return opened.read(status.st_size)
    except NotARegularFileError as fault:
        raise ModelError(f"{file} cannot be read: {fault}") from fault
    except OSError as fault:
        raise ModelError(f"{file} cannot be read: {fault.strerror}") from fault


def _verify(data: bytes, meta_file: Path) -> tuple[Head, ...]:
    """Compare the bytes of a model with what model.meta.json says about them; give its heads."""
    if not meta_file.exists():
        raise ModelError(
            f"{meta_file} is missing, so nothing says which model this is; "
            f"copy {META_NAME} together with the model"
        )
    try:
        meta = json.loads(_read(meta_file, max_bytes=MAX_META_BYTES))
    except ValueError as fault:
        raise ModelError(f"{meta_file} is not JSON: {fault}") from fault
    except RecursionError as fault:
        raise ModelError(f"{meta_file} is no metadata of a model: it is nested too deep") from fault
    if not isinstance(meta, dict):
        raise ModelError(f"{meta_file} holds no JSON object")
    version = _entry(meta, "schema_version", int)
    if version != META_SCHEMA_VERSION:
        raise ModelError(
            f"{META_NAME} has schema_version {version}; this runtime reads {META_SCHEMA_VERSION}"
            + ("; upgrade webcam-ml here" if version > META_SCHEMA_VERSION else "")
        )
    size, digest = _entry(meta, "size", int), _entry(meta, "sha256", str)
    found = hashlib.sha256(data).hexdigest()
    if (len(data), found) != (size, digest):
        raise ModelError(
            f"the model is not the one that {META_NAME} describes: {len(data)} bytes with SHA-256 "
            f"{found[:12]}…, described are {size} bytes with {digest[:12]}…; "
            "it was damaged or changed, or the two files belong to different models"
        )
    first, listed = _head(meta), meta.get("heads")
    if listed is None:
        return (first,)
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise ModelError(f"{META_NAME} has heads that are no list of objects")
    heads = tuple(_head(entry) for entry in listed)
    types = [head.target_type for head in heads]
    if len(heads) < 2 or len(set(types)) < len(types) or heads[0] != first:
        raise ModelError(
            f"{META_NAME} lists the heads {', '.join(types) or 'none'}; there must be two or more, of "
            f"different target types, and the first must be {first.model_version}. Let the file be "
            "composed again (materialize production_model)"
        )
    return heads


def _head(entry: dict[str, object]) -> Head:
    return Head(
        model_version=_usable_version(_entry(entry, "model_version", str)),
        target_type=_target_type(_entry(entry, "target_type", str)),
        decision_threshold=_threshold(entry),
    )


def _named_in(heads: tuple[Head, ...]) -> dict[str, str]:
    """Give the metadata_props that a file with these heads must have; none for no heads."""
    if not heads:
        return {}
    named = {"model_version": heads[0].model_version, "target_type": heads[0].target_type}
    if len(heads) > 1:
        named |= {f"{head.target_type}.model_version": head.model_version for head in heads}
    return named


def _threshold(meta: dict[str, object]) -> float | None:
    value = meta.get("decision_threshold")
    if value is None:
        return None
    # JSON as Python reads it has NaN, Infinity and integers that no float holds.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ModelError(
            f"{META_NAME} has decision_threshold {repr(value)[:40]} where a number from 0 to 1 is "
            "expected; export the model again"
        )
    return float(value)


def _entry(meta: dict[str, object], key: str, kind: type[_T]) -> _T:
    value = meta.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ModelError(
            f"{META_NAME} has {key} {value!r} where a {kind.__name__} is expected; "
            "export the model again"
        )
    return value


def _usable_version(version: str) -> str:
    if not version or version.startswith("baseline"):
        raise ModelError(
            f"the model calls itself {version!r}; a model has a name, and {BASELINE_VERSION} "
            "is the name of the score that needs no model"
        )
    return version


def _target_type(name: str) -> TargetType:
    for known in TARGETS:
        if name == known:
            return known
    raise ModelError(f"the model has target_type {name!r}; {' and '.join(TARGETS)} are known")


def _start(data: bytes, file: Path, threads: int | None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    # What goes wrong arrives as an exception; onnxruntime would print it to stderr as well.
    options.log_severity_level = 4
    # Otherwise the bytes themselves may choose another format, one that nobody has walked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(
            data, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except _RUNTIME_FAULTS as fault:
        raise ModelError(f"{file} cannot be loaded: {fault}") from fault


def _check_signature(session: onnxruntime.InferenceSession, several: Sequence[TargetType]) -> None:
    """Compare inputs and outputs with the contract: any batch, any size, RGB bytes.

    Args:
        session: What was loaded.
        several: The target types of a file with more than one head.
    """
    inputs = {entry.name: (entry.type, entry.shape) for entry in session.get_inputs()}
    outputs = {entry.name: (entry.type, entry.shape) for entry in session.get_outputs()}
    image = inputs.get("image", ("", []))
    if (
        set(inputs) != {"image"}
        or image[0] != "tensor(uint8)"
        or len(image[1]) != 4
        or any(isinstance(size, int) for size in image[1][:3])
        or image[1][3] != 3
    ):
        raise ModelError(
            "the model must have the one input image, uint8 [batch, height, width, 3] with the "
            f"first three sizes free; it has {_signature(inputs)}"
        )
    wanted = [f"{of}{name}" for of in ("", *(f"{one}_" for one in several)) for name in OUTPUTS]
    for name in wanted:
        kind, shape = outputs.get(name, ("", []))
        if len(outputs) != len(wanted) or kind != "tensor(float)" or len(shape) != 1:
            raise ModelError(
                f"the model must have the outputs {' and '.join(wanted)}, float32 [batch]; "
                f"it has {_signature(outputs)}"
            )


def _signature(entries: dict[str, tuple[str, list[int | str | None]]]) -> str:
    return ", ".join(f"{name} {kind} {shape}" for name, (kind, shape) in entries.items()) or "none"


def _stamped_identity(stamps: Mapping[str, str]) -> Head:
    for key in ("model_version", "target_type"):
        if key not in stamps:
            raise ModelError(f"the model's metadata_props lack {key}; export the model again")
    return Head(
        model_version=_usable_version(stamps["model_version"]),
        target_type=_target_type(stamps["target_type"]),
        decision_threshold=None,
    )
