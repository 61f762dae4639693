"""How two models were made: settings and judges that differ.

Only what decides their content: the page is stored, and equal inputs give equal bytes on another day and
with another commit of the program.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from webcam_ml.dataset import ExportMeta
from webcam_ml.judging import changes_between
from webcam_ml.store import ArtifactMissingError, ArtifactStore, StoredArtifact

# Whose settings make a model what it is.
ASSETS = ("labels_raw", "manifest_full", "checkpoint")
# Of a judge, what its label is learned from is as long as its scores: that it differs is enough.
MAPS = ("knots", "target_knots")


@dataclass(frozen=True)
class Differing:
    """Something that is not the same in A and B."""

    where: str
    what: str
    a: str
    b: str


def settings_that_differ(
    a: StoredArtifact, b: StoredArtifact, meta: ExportMeta, store: ArtifactStore
) -> Iterator[Differing]:
    """Yield definitions, numbers of rows and settings that differ.

    Args:
        a: The older stored version of onnx_model.
        b: The newer one.
        meta: How the labels of the newer one were made.
        store: Where the ancestors of both are.
    """
    told = set()
    for one in changes_between(a, b, meta, store):
        told.add(one.what)
        yield Differing(one.kind, one.what, _shown(one.champion), _shown(one.candidate))
    for asset in ASSETS:
        sides = [_ancestor(model, asset, store) for model in (a, b)]
        configs = [{} if one is None else one.lineage.config for one in sides]
        # A setting that one of the two versions of the program did not have says nothing.
        for name in sorted(configs[0].keys() & configs[1].keys() - told):
            old, new = (config[name] for config in configs)
            if old != new:
                yield Differing(asset, name, _shown(old), _shown(new))


def judges_that_differ(a: ExportMeta, b: ExportMeta) -> Iterator[Differing]:
    """Yield what is not the same of the judges that were heard (`judges` in export_meta.json)."""
    old, new = _judges(a), _judges(b)
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new:
            yield Differing(name, "heard", _yes(name in old), _yes(name in new))
            continue
        for fact in sorted(old[name].keys() | new[name].keys()):
            one, other = old[name].get(fact), new[name].get(fact)
            if one == other:
                continue
            if fact in MAPS:
                yield Differing(name, fact, "one map", "another")
            else:
                yield Differing(name, fact, _shown(one), _shown(other))


def _judges(meta: ExportMeta) -> Mapping[str, Mapping[str, Any]]:
    if meta.heard is None:
        return {}
    return {one["name"]: one for one in meta.heard.to_dict()["judges"]}


def _ancestor(model: StoredArtifact, asset: str, store: ArtifactStore) -> StoredArtifact | None:
    try:
        return store.find(asset, model.lineage.ancestors[asset])
    except (ArtifactMissingError, KeyError):
        return None  # pruned: nothing is known of it any more


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return _yes(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
