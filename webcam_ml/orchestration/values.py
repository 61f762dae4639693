"""The classes of the values that assets exchange, known by name until a step needs one.

Dagster evaluates the annotations of assets and checks when it loads them, in each process that it
starts. Were these the classes themselves, every process would import SQLAlchemy, polars and
onnxruntime at its start. To a type checker they are the classes; to Dagster each is a stand-in that
imports its class when a value is stored, loaded or checked.
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from webcam_ml.store import Artifact, StoredArtifact

__all__ = [
    "Checkpoint",
    "ComparedImages",
    "Comparison",
    "DisagreementReport",
    "EvalReport",
    "ExportedModel",
    "ImageIndex",
    "Labels",
    "LiveModel",
    "Manifest",
    "NearDuplicates",
    "RatingQueue",
    "ServedAudit",
    "value_type",
]


class _StandIn(type):
    """Metaclass: the stand-in's instances are those of the class that it names."""

    names: str

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, resolve_name(cls.names))


def _stand_in(names: str) -> Any:
    return _StandIn(names.partition(":")[2], (), {"names": names})


def value_type(annotation: type) -> type[Artifact] | type[StoredArtifact]:
    """Return the class that an input is annotated with, imported now if it was a stand-in."""
    resolved: type[Artifact] | type[StoredArtifact] = (
        resolve_name(annotation.names) if isinstance(annotation, _StandIn) else annotation
    )
    return resolved


if TYPE_CHECKING:
    from webcam_ml.dataset import Manifest
    from webcam_ml.dataset.duplicates import ComparedImages, NearDuplicates
    from webcam_ml.dataset.images import ImageIndex
    from webcam_ml.disagreement import DisagreementReport
    from webcam_ml.evaluation import EvalReport
    from webcam_ml.export import ExportedModel
    from webcam_ml.judging import Comparison
    from webcam_ml.labels import Labels
    from webcam_ml.live import LiveModel
    from webcam_ml.monitoring import ServedAudit
    from webcam_ml.rating_queue import RatingQueue
    from webcam_ml.training import Checkpoint
else:
    Manifest = _stand_in("webcam_ml.dataset:Manifest")
    ComparedImages = _stand_in("webcam_ml.dataset.duplicates:ComparedImages")
    NearDuplicates = _stand_in("webcam_ml.dataset.duplicates:NearDuplicates")
    ImageIndex = _stand_in("webcam_ml.dataset.images:ImageIndex")
    DisagreementReport = _stand_in("webcam_ml.disagreement:DisagreementReport")
    EvalReport = _stand_in("webcam_ml.evaluation:EvalReport")
    ExportedModel = _stand_in("webcam_ml.export:ExportedModel")
    RatingQueue = _stand_in("webcam_ml.rating_queue:RatingQueue")
    ServedAudit = _stand_in("webcam_ml.monitoring:ServedAudit")
    Labels = _stand_in("webcam_ml.labels:Labels")
    Checkpoint = _stand_in("webcam_ml.training:Checkpoint")
    Comparison = _stand_in("webcam_ml.judging:Comparison")
    LiveModel = _stand_in("webcam_ml.live:LiveModel")
