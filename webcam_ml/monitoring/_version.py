"""The stored scores that name one model, scored again, and what is wrong with them."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import polars as pl

from webcam_ml.contracts import SERVED_ROWS_TABLE
from webcam_ml.dataset.images import (
    FetchSettings,
    ImageCache,
    ImageFetchError,
    fetch_bytes,
)
from webcam_ml.export import MODEL_FILE, ExportedModel
from webcam_ml.features import get_backbone
from webcam_ml.monitoring._compare import (
    CLEARLY_DIFFERENT,
    FLOOR,
    LARGEST_CHANCE,
    LARGEST_CHANCE_OF_REASON,
    Demand,
    Explanation,
    chance_of,
    chance_of_hits,
    demanded,
    differs,
    explain,
    explain_by_model,
    hits,
    noise_of,
)
from webcam_ml.monitoring._findings import (
    BASELINE_UNDER_NAME,
    OTHER_PREPROCESSING,
    OTHER_SCORES,
    PICTURES_CHANGED,
    WRONG_VERSION,
)
from webcam_ml.monitoring._noise import benign
from webcam_ml.monitoring._served_audit import Finding
from webcam_ml.monitoring._settings import AuditSettings
from webcam_ml.monitoring._skews import SKEWS, skewed
from webcam_ml.progress import track
from webcam_ml.scoring import BASELINE_VERSION, OnnxModel, baseline_score
from webcam_ml.store import StoredArtifact

logger = logging.getLogger(__name__)

Scores = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

# Explaining takes a forward pass for each picture and mistake.
ROWS_EXPLAINED = 40
# Of the same target type, the newest first: one of these may have given the scores.
OTHER_MODELS = 6


@contextmanager
def _running(stored: StoredArtifact) -> Iterator[Callable[[Sequence[Pixels]], Scores]]:
    """Give the function that scores pictures by a stored model."""
    with TemporaryDirectory(prefix="webcam-ml-") as name:
        stored.load(ExportedModel).save(Path(name))
        model = OnnxModel.load(Path(name) / MODEL_FILE, threads=1)

        def score(pictures: Sequence[Pixels]) -> Scores:
            return np.array([float(model.score_array(one[np.newaxis])[0]) for one in pictures])

        yield score


class VersionAudit:
    """The rows that name one model, and what is found in them."""

    def __init__(
        self,
        version: str,
        rows: pl.DataFrame,
        models: Mapping[str, StoredArtifact],
        *,
        images: ImageCache,
        settings: AuditSettings,
    ) -> None:
        self.findings: list[Finding] = []
        self._version = version
        self._rows = rows
        self._models = models
        self._images = images
        self._settings = settings
        self._meta = models[version].load(ExportedModel).meta

    def compare(self) -> pl.DataFrame:
        """Score the rows again and judge them; gives the columns of `SERVED_ROWS_TABLE`."""
        stored = self._rows["raw_score"].to_numpy()
        scored: list[Scores] = []
        with _running(self._models[self._version]) as score:
            digests = track(
                self._rows["sha256"], total=len(stored), what="scoring again", unit="pictures"
            )
            for sha256 in digests:
                pixels = self._images.decode(sha256)
                scored.append(score([pixels, *benign(pixels)]))
            own, *copies = np.array(scored).T
            noise = noise_of(own, np.array(copies))
            other = differs(stored, own, noise)
            changed = other & self._changed(other)
            self._judge(score, stored, own, noise, other & ~changed, among=~changed)
        if changed.any():
            self._found(
                PICTURES_CHANGED,
                int(changed.sum()),
                None,
                "the score is another and so is the picture under the address: labels and scores are of "
                "a picture that is gone. Store a picture for each snapshot",
            )
        verdict = np.where(changed, "picture changed", np.where(other, "differs", "same"))
        return self._rows.with_columns(
            own_score=pl.Series(own), noise=pl.Series(noise), verdict=pl.Series(verdict.tolist())
        ).select(pl.col(name).cast(kind) for name, kind in SERVED_ROWS_TABLE.schema.items())

    def _judge(
        self,
        score: Callable[[Sequence[Pixels]], Scores],
        stored: Scores,
        own: Scores,
        noise: Scores,
        other: npt.NDArray[np.bool_],
        *,
        among: npt.NDArray[np.bool_],
    ) -> None:
        by = self._by_another_model(stored[among], own[among], self._rows.filter(among))
        if by is not None:
            self._found(
                WRONG_VERSION,
                int(among.sum()),
                by.p_value,
                f"they are those of {by.name[0]}: the application loads another file than the one whose "
                "name it writes",
            )
            return
        fallback = np.array(self._baseline())
        # Where model and baseline agree, nobody can tell which of them spoke.
        apart = among & (np.abs(fallback - own) > FLOOR + noise)
        baseline = apart & hits(stored, fallback)
        chance = chance_of_hits(int(baseline.sum()), int(apart.sum()))
        if chance < LARGEST_CHANCE_OF_REASON:
            self._found(
                BASELINE_UNDER_NAME,
                int(baseline.sum()),
                chance,
                f"they are the baseline's, which belong under {BASELINE_VERSION}: they are fallbacks, and "
                "poison what is measured of this model",
            )
            other, among = other & ~baseline, among & ~baseline
        chance = chance_of(int(other.sum()), int(among.sum()))
        demand = demanded(stored[among], own[among], noise[among])
        if chance < LARGEST_CHANCE:
            demand = CLEARLY_DIFFERENT
        if demand is None:
            return
        places = np.flatnonzero(among), np.flatnonzero(other)
        reason = self._preparation(score, stored, own, *places, demand=demand)
        if reason is not None:
            # Moved as a whole, each perhaps by less than shows in a row by itself.
            together = "" if chance < LARGEST_CHANCE else "all are a little off, and "
            self._found(
                OTHER_PREPROCESSING,
                int(other.sum()),
                reason.p_value,
                f"{together}the differences are those of: {' and '.join(reason.name)} (which is nearer in "
                f"{reason.rows} of {reason.of} looked into; what is left is {reason.remainder:.0%}). The "
                "file wants the decoded picture as it is, uint8 RGB: it resizes and normalises by itself "
                "(docs/runtime.md)",
            )
        elif chance < LARGEST_CHANCE:
            self._found(
                OTHER_SCORES,
                int(other.sum()),
                chance,
                f"none of {len(SKEWS)} usual mistakes and no other model of the store explains them. "
                "served_scores_audit.csv has the rows",
            )

    def _found(self, name: str, rows: int, p_value: float | None, what: str) -> None:
        of = self._rows.height
        self.findings.append(
            Finding(
                name,
                self._version,
                rows,
                of,
                p_value,
                f"{rows:,} of {of:,} scores of {self._version} are not what the file says; {what}.",
            )
        )

    def _by_another_model(
        self, stored: Scores, own: Scores, rows: pl.DataFrame
    ) -> Explanation | None:
        others: dict[str, Scores] = {}
        for name, model in self._models.items():
            if name == self._version or len(others) == OTHER_MODELS:
                continue
            if model.load(ExportedModel).meta.target_type != self._meta.target_type:
                continue
            with _running(model) as score:
                others[name] = score([self._images.decode(sha256) for sha256 in rows["sha256"]])
        return explain_by_model(stored, own, others) if others else None

    def _baseline(self) -> list[float]:
        columns = self._rows.select("view_count", "webcam_rating", "phase").iter_rows()
        return [baseline_score(*facts).raw_score for facts in columns]

    def _preparation(
        self,
        score: Callable[[Sequence[Pixels]], Scores],
        stored: Scores,
        own: Scores,
        among: npt.NDArray[np.int64],
        other: npt.NDArray[np.int64],
        *,
        demand: Demand,
    ) -> Explanation | None:
        """Name the mistake that explains the scores, of all rows or else of those that differ."""
        backbone = get_backbone(self._meta.model_name)
        tried = [among[:ROWS_EXPLAINED], other[:ROWS_EXPLAINED]]
        guesses: dict[int, Mapping[tuple[str, ...], float]] = {}
        for places in tried:
            for place in track(places, total=len(places), what="explaining", unit="pictures"):
                if int(place) in guesses:
                    continue
                sha256 = self._rows["sha256"][int(place)]
                pictures = skewed(
                    self._images.decode(sha256),
                    self._images.read(sha256),
                    mean=backbone.mean,
                    std=backbone.std,
                )
                scores = score(list(pictures.values()))
                guesses[int(place)] = dict(zip(pictures, scores.tolist(), strict=True))
            found = explain(
                stored[places],
                own[places],
                {skew: np.array([guesses[int(one)][skew] for one in places]) for skew in SKEWS},
                attempts=len(tried),
                demand=demand,
            )
            if found is not None:
                return found
        return None

    def _changed(self, other: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Fetch the pictures of rows anew, and say where another one is there than was before."""
        changed = np.zeros(len(other), bool)
        for place in np.flatnonzero(other):
            row = self._rows.row(int(place), named=True)
            if row["known_sha256"] is None:
                continue
            now = _digest_now(row["image_path_or_url"], self._settings.images)
            changed[place] = now is not None and now != row["known_sha256"]
        return changed


def _digest_now(source: str, settings: FetchSettings) -> str | None:
    try:
        return hashlib.sha256(fetch_bytes(source, settings)).hexdigest()
    except ImageFetchError as gone:
        logger.info("a picture that differs cannot be fetched again: %s", gone)
        return None
