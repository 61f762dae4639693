"""From two stored models to the page that shows what changed between them."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl

from webcam_ml.changes._cards import (
    count_judges,
    flow_of,
    judgement_groups,
    label_groups,
    with_pictures,
)
from webcam_ml.changes._judged import Thresholds, judged_otherwise
from webcam_ml.changes._labels import label_changes, of_people
from webcam_ml.changes._made import judges_that_differ, settings_that_differ
from webcam_ml.changes._measured import SideBySide, by_slice
from webcam_ml.contracts import PEOPLE, target_of
from webcam_ml.dataset import Manifest
from webcam_ml.dataset.images import ImageCache, ImageIndex
from webcam_ml.disagreement import thumbnail_jpeg
from webcam_ml.errors import WebcamMLError
from webcam_ml.export import META_FILE, ModelMeta
from webcam_ml.judging import (
    CANDIDATE,
    RIVAL,
    WARNINGS,
    Comparison,
    ComparisonResult,
    Judged,
    ScoredRows,
    measure_stored,
)
from webcam_ml.live import stored_models
from webcam_ml.metrics import Interval
from webcam_ml.pages import data_uri, render_page
from webcam_ml.store import ArtifactStore, StoredArtifact

logger = logging.getLogger(__name__)

# As text in the page all pictures together take 3.1 MB at most; the words take up to 1.8 MB.
ALL_PICTURE_BYTES, LARGEST_PICTURE_BYTES, PICTURE_SIDE = 2_300_000, 10_000, 320


def with_what_changed(
    result: ComparisonResult, candidate: StoredArtifact, *, store: ArtifactStore, images: ImageCache
) -> Comparison:
    """Give a comparison the page that shows what is behind it.

    Args:
        result: Candidate and live model, compared.
        candidate: The stored candidate.
        store: Where the live model and the ancestors of both are.
        images: Where the pictures are; one that is gone is left out.
    """
    champion = result.comparison.evidence.champion
    live = None if champion is None else store.find("onnx_model", champion.onnx_model)
    page = _Between(live, candidate, result.test, store, images).page(
        verdicts=result.comparison.verdicts
    )
    return replace(result.comparison, what_changed=page)


def compare_models(older: str, newer: str, *, store: ArtifactStore, images: ImageCache) -> str:
    """Make the page of two stored models, by their names.

    Args:
        older: A model_version; it takes the place of the live model.
        newer: Another one, on whose test rows both are measured.
        store: Where they are.
        images: Where the pictures are.

    Raises:
        WebcamMLError: One is not in the store, they are the same, or of two target types.
        ArtifactMissingError: What one was made from was pruned.
    """
    models = stored_models(store)
    for version in (older, newer):
        if version not in models:
            raise WebcamMLError(
                f"there is no model {version} in {store.address}. Stored are: "
                f"{', '.join(sorted(models)) or 'none'}"
            )
    if older == newer:
        raise WebcamMLError(
            f"{older} is compared with itself: name two models, the older one first"
        )
    a, b = (
        ModelMeta.load(models[version].folder_with(META_FILE)).target_type
        for version in (older, newer)
    )
    if a != b:
        raise WebcamMLError(
            f"{older} is a {a} model and {newer} a {b} model: they are asked different things, and "
            "no metric is the same for both. Name two models of one target type"
        )
    measured = measure_stored(models[older], models[newer], store=store, images=images)
    return _Between(models[older], models[newer], measured.test, store, images).page(verdicts={})


class _Between:
    """Two stored models, A and B, or B alone; what is read of them and shown."""

    def __init__(
        self,
        a: StoredArtifact | None,
        b: StoredArtifact,
        test: ScoredRows,
        store: ArtifactStore,
        images: ImageCache,
    ) -> None:
        self.a, self.b, self.test, self.store, self.images = a, b, test, store, images
        self.meta_b = ModelMeta.load(b.folder_with(META_FILE))
        self.meta_a = None if a is None else ModelMeta.load(a.folder_with(META_FILE))
        self.manifest = self._ancestor(b, "manifest_full").load(Manifest)
        self.before = None if a is None else self._ancestor(a, "manifest_full").load(Manifest)
        # Snapshot ids mean nothing in another database.
        self.one_database = a is None or a.lineage.database == b.lineage.database
        self.asked = target_of(self.meta_b.target_type)

    def page(self, *, verdicts: Mapping[str, Judged]) -> str:
        """Make the page; the verdicts are those of the gates, where there are some."""
        labels = None
        if self.before is not None and self.one_database:
            labels = label_changes(self.before, self.manifest)
        judged = None
        if {CANDIDATE, RIVAL} <= self.test.scores.keys():
            judged = judged_otherwise(self.test, self.thresholds).join(
                self.manifest.details.select("snapshot_id", "webcam_title"),
                on="snapshot_id",
                how="left",
                maintain_order="left",
            )
        pictures = self._pictures(with_pictures(labels, judged))
        warnings = {name: one for name, one in verdicts.items() if name in WARNINGS}
        gates = {name: one for name, one in verdicts.items() if name not in WARNINGS}
        measured = list(self._metrics())
        return render_page(
            "webcam_ml.changes",
            "page",
            a=None if self.meta_a is None else self.meta_a.model_version,
            b=self.meta_b.model_version,
            of_gates=bool(verdicts),
            no=[(name, one.reason) for name, one in gates.items() if not one.passed],
            yes=[(name, one.reason) for name, one in gates.items() if one.passed],
            warned=[(name, one.reason) for name, one in warnings.items() if not one.passed],
            metric_name=self.asked.primary_metric_name,
            primary=next((one for one in measured if one.of == self.asked.primary_metric), None),
            better=self._better(measured),
            measured=measured,
            slices=list(self._slices()),
            interval=_interval,
            difference=_difference,
            rows=self.test.rows,
            webcams=self.test.n_cameras,
            one_database=self.one_database,
            labels=None if labels is None else list(label_groups(labels, pictures)),
            flow=None if labels is None else flow_of(of_people(labels)),
            of_judges=[] if labels is None else count_judges(labels),
            judged=None
            if judged is None
            else list(judgement_groups(judged, pictures, decided=self.thresholds is not None)),
            in_stars=self.asked.in_stars,
            settings=[]
            if self.a is None
            else list(settings_that_differ(self.a, self.b, self.manifest.meta, self.store)),
            judges=[]
            if self.before is None
            else list(judges_that_differ(self.before.meta, self.manifest.meta)),
        )

    def _ancestor(self, model: StoredArtifact, name: str) -> StoredArtifact:
        return self.store.find(name, model.lineage.ancestors[name])

    @property
    def thresholds(self) -> Thresholds | None:
        """Where both decide; None where nothing is decided."""
        a = None if self.meta_a is None else self.meta_a.decision_threshold
        b = self.meta_b.decision_threshold
        return None if a is None or b is None else Thresholds(a, b)

    def _metrics(self) -> Iterator[SideBySide]:
        thresholds = self.thresholds
        pair = None if thresholds is None else (thresholds.b, thresholds.a)
        theirs = None if thresholds is None else thresholds.a
        for metric in self.asked.compared_metrics:
            if CANDIDATE not in self.test.scores or not self.test.rows:
                return
            both = RIVAL in self.test.scores
            nothing = Interval(value=None, low=None, high=None, reason="no model was live")
            own = self.meta_b.decision_threshold
            yield SideBySide(
                of=metric,
                group="",
                a=self.test.estimate(metric, RIVAL, theirs).interval() if both else nothing,
                b=self.test.estimate(metric, CANDIDATE, own).interval(),
                difference=self.test.difference(
                    metric, CANDIDATE, RIVAL, thresholds=pair
                ).interval()
                if both
                else nothing,
                rows=self.test.rows,
                webcams=self.test.n_cameras,
            )

    def _slices(self) -> Iterator[SideBySide]:
        if not {CANDIDATE, RIVAL} <= self.test.scores.keys() or not self.test.rows:
            return
        frame = self.manifest.frame.filter(pl.col("label_origin") == PEOPLE)
        counted = self.manifest.meta.cameras(frame["webcam_id"]).value_counts()
        yield from by_slice(self.test, self.manifest.details, dict(counted.iter_rows()))

    def _better(self, measured: Sequence[SideBySide]) -> bool | None:
        """Whether B is better than A on these rows; None if its interval has both signs."""
        found = next((one for one in measured if one.of == self.asked.primary_metric), None)
        if found is None or found.difference.low is None or found.difference.high is None:
            return None
        low, high = found.difference.low, found.difference.high
        if low <= 0 <= high:
            return None
        return (low > 0) == self.asked.higher_is_better

    def _pictures(self, snapshot_ids: Sequence[int]) -> dict[int, str]:
        """Encode pictures, as addresses that hold them; those that are gone are left out.

        Args:
            snapshot_ids: One for each place on the page: an address is in each of its places.
        """
        models = [self.b] if self.a is None or not self.one_database else [self.a, self.b]
        digests: dict[int, str] = {}
        for model in models:
            index = self._ancestor(model, "image_index").load(ImageIndex)
            digests |= dict(index.usable().select("snapshot_id", "sha256").iter_rows())
        found = {}
        for snapshot_id in dict.fromkeys(snapshot_ids):
            if snapshot_id not in digests:
                continue
            try:
                pixels = self.images.decode(digests[snapshot_id])
            except WebcamMLError as error:
                logger.warning("snapshot %d is shown without its picture: %s", snapshot_id, error)
                continue
            found[snapshot_id] = data_uri(
                thumbnail_jpeg(
                    pixels, side=PICTURE_SIDE, max_bytes=largest_picture(len(snapshot_ids))
                )
            )
        return found


def largest_picture(places: int) -> int:
    """Give the bytes that a picture may have on a page with so many."""
    return min(LARGEST_PICTURE_BYTES, ALL_PICTURE_BYTES // max(places, 1))


def _interval(one: Interval) -> str:
    if one.value is None:
        return one.reason or "–"
    if one.low is None or one.high is None:
        return f"{one.value:.3f}"
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"


def _difference(one: Interval) -> str:
    if one.value is None:
        return one.reason or "–"
    if one.low is None or one.high is None:
        return f"{one.value:+.3f}".replace("-", "−")
    return f"{one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f})".replace("-", "−")
