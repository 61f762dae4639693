"""Whether the judges of new labels say what they said when the live model was trained."""

from dataclasses import dataclass

from webcam_ml.dataset import ExportMeta
from webcam_ml.dataset.judges import JudgeComparison
from webcam_ml.evaluation import Verdict
from webcam_ml.judging import compare_judges_of, labels_of
from webcam_ml.live._production import current_ledger
from webcam_ml.store import ArtifactDamagedError, ArtifactMissingError, ArtifactStore


@dataclass(frozen=True)
class JudgesBesideLive:
    """What was found.

    Attributes:
        verdict: Whether all of them agree with the live model's.
        judges: Those that speak, or spoke.
    """

    verdict: Verdict
    judges: tuple[JudgeComparison, ...] = ()


def judges_beside_live(meta: ExportMeta, store: ArtifactStore) -> JudgesBesideLive:
    """Compare the judges of a manifest with those that the live model learned from.

    Args:
        meta: How the manifest was made.
        store: Where the live model of its target type is.

    Raises:
        LedgerDamagedError: The ledger is not what was written.
    """
    live = current_ledger(store).live(meta.target_type)
    if live is None:
        return JudgesBesideLive(Verdict(True, f"No {meta.target_type} model is live.", {}))
    try:
        model = store.find("onnx_model", live.lineage["onnx_model"].data_version)
        of_live = labels_of(model, store)
    except (ArtifactMissingError, ArtifactDamagedError) as error:
        why = f"The judges of the live model, {live.version}, are not known: {error}"
        return JudgesBesideLive(Verdict(False, why, {}))
    judges = tuple(compare_judges_of(of_live, meta))
    return JudgesBesideLive(_verdict(judges, live.version), judges)


def _verdict(judges: tuple[JudgeComparison, ...], live: str) -> Verdict:
    differ = [one.differs for one in judges if one.differs is not None]
    unlike = [one.judge for one in judges if one.is_not_compared]
    numbers = {"judges": len(judges), "that differ": len(differ)}
    if not judges:
        return Verdict(True, f"No judge speaks, and none did for the live model, {live}.", numbers)
    if differ:
        return Verdict(
            False,
            f"Not as for the live model, {live}: {'; '.join(differ)}. A judge whose model or prompt "
            "changed should have another name (llm_model). If it is people who rate otherwise, or it "
            "is meant, the candidate needs definition_change with the reason.",
            numbers,
        )
    return Verdict(
        True,
        f"Each of {len(judges)} judges says what it said for the live model, {live}, as far as chance "
        "lets one see."
        if not unlike
        else f"The judges of the live model, {live}, speak as before. It was asked for another "
        "binary_threshold, so what their scores mean is not compared.",
        numbers,
    )
