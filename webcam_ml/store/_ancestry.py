"""The ancestor rule: inputs of one step must descend from the same versions of what they share."""

from collections.abc import Mapping

from webcam_ml.errors import WebcamMLError
from webcam_ml.store._store import ArtifactMissingError, ArtifactStore, StoredArtifact


def require_common_ancestry(
    step: str, inputs: Mapping[str, StoredArtifact], *, store: ArtifactStore
) -> None:
    """Refuse a mixture, for example a binary checkpoint beside a regression manifest.

    Args:
        step: The asset or check that is about to run, for the message.
        inputs: Its stored inputs by asset name.
        store: Where the ancestors are, to find which of the two inputs is out of date.

    Raises:
        WebcamMLError: Two inputs disagree on a shared ancestor; names both and what to materialize.
    """
    seen: dict[str, tuple[str, StoredArtifact]] = {}
    for name in sorted(inputs):
        stored = inputs[name]
        family = {**stored.lineage.ancestors, stored.asset: stored.data_version}
        for ancestor, version in sorted(family.items()):
            other_version, other = seen.setdefault(ancestor, (version, stored))
            if other_version != version:
                raise WebcamMLError(
                    _describe(step, ancestor, {other_version: other, version: stored}, store)
                )


def _describe(
    step: str, ancestor: str, sides: Mapping[str, StoredArtifact], store: ArtifactStore
) -> str:
    (one_version, one), (two_version, two) = sides.items()
    current = store.latest(ancestor).data_version
    behind = sorted(
        {
            name
            for version, stored in sides.items()
            if version != current
            for name in _made_from(ancestor, version, stored, store)
            if store.latest(name).lineage.ancestors.get(ancestor) != current
        }
    )
    return (
        f"{step} cannot run: its inputs {one.asset} and {two.asset} were made from different "
        f"versions of {ancestor} ({one.asset} from {one_version[:12]}, {two.asset} from "
        f"{two_version[:12]}; the current one is {current[:12]}). Materialize what is behind "
        f"first: --select '{','.join(behind)}'"
    )


def _made_from(
    ancestor: str, version: str, stored: StoredArtifact, store: ArtifactStore
) -> set[str]:
    """Name `stored` and everything between it and that version of the ancestor."""
    names = {stored.asset}
    for name, its_version in stored.lineage.ancestors.items():
        try:
            lineage = store.find(name, its_version).lineage
        except ArtifactMissingError:
            continue  # pruned: whether it lies between cannot be known, so it is not named
        if lineage.ancestors.get(ancestor) == version:
            names.add(name)
    return names - {ancestor}
