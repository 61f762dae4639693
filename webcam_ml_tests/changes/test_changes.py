"""What changed between two models, told on real candidates, and read in a browser."""

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import Page, expect, sync_playwright
from sklearn.metrics import roc_auc_score

from webcam_ml.changes import compare_models, label_changes, with_what_changed
from webcam_ml.changes._cards import flow_of, judgement_groups, label_groups, with_pictures
from webcam_ml.changes._judged import Thresholds, judged_otherwise
from webcam_ml.changes._made import Differing, judges_that_differ, settings_that_differ
from webcam_ml.changes._measured import by_slice
from webcam_ml.changes._pages import largest_picture
from webcam_ml.cli import main
from webcam_ml.dataset import Manifest, build_manifest
from webcam_ml.dataset.images import ImageCache
from webcam_ml.dataset.judges import Calibration, HeardJudge, HeardJudges
from webcam_ml.dataset.judges._calibration import Overlap
from webcam_ml.dataset.judges._monotone import MonotoneMap
from webcam_ml.errors import WebcamMLError
from webcam_ml.judging import (
    CANDIDATE,
    RIVAL,
    Comparison,
    ComparisonResult,
    ScoredRows,
    measure_stored,
)
from webcam_ml.metrics import paired_difference
from webcam_ml.pages import data_uri, render_page
from webcam_ml.store import Artifact, ArtifactStore, Provenance, StoredArtifact
from webcam_ml_tests.live.fixtures import Live
from webcam_ml_tests.live.models import REAL, Made, Works
from webcam_ml_tests.world import make_labels

HOSTILE = (
    "</p><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
)


def manifest(changes: pl.Expr | None = None, *, without: tuple[int, ...] = ()) -> Manifest:
    labels = make_labels()
    frame = labels.frame.filter(~pl.col("snapshot_id").is_in(list(without)))
    if changes is not None:
        frame = frame.with_columns(changes)
    return build_manifest(replace(labels, frame=frame))


def test_every_label_is_new_gone_moved_confirmed_or_the_same() -> None:
    before = manifest(without=(3,))
    after = manifest(without=(5,))
    value = dict(after.frame.select("snapshot_id", "label_value").iter_rows())
    moved = replace(
        after,
        frame=after.frame.with_columns(
            label_value=pl.when(pl.col("snapshot_id") == 7)
            .then(6.0 - pl.col("label_value") + 0.5 * (pl.col("label_value") == 3))
            .otherwise("label_value"),
            rating_count=pl.when(pl.col("snapshot_id") == 8).then(2).otherwise("rating_count"),
        ),
    )
    changes = label_changes(before, moved)
    told = dict(changes.select("snapshot_id", "change").iter_rows())
    assert {one: told[one] for one in (3, 5, 7, 8)} == {
        3: "new",
        5: "gone",
        7: "moved",
        8: "confirmed",
    }
    assert set(told) == set(range(1, 161))
    assert sum(change == "same" for change in told.values()) == 156
    assert changes["snapshot_id"][0] == 7, "the largest move comes first"
    (row,) = changes.filter(pl.col("snapshot_id") == 7).to_dicts()
    assert row["before"] == value[7]


def test_test_pictures_are_told_by_the_side_of_the_threshold_and_by_the_label() -> None:
    rows = ScoredRows(
        pl.DataFrame({"snapshot_id": [1, 2, 3, 4, 5], "target_label": [1.0, 0.0, 1.0, 0.0, 1.0]}),
        "binary",
        100,
        0,
        {
            RIVAL: np.array([0.3, 0.3, 0.6, 0.2, 0.7]),
            CANDIDATE: np.array([0.8, 0.7, 0.9, 0.3, 0.7]),
        },
    )
    told = judged_otherwise(rows, Thresholds(a=0.5, b=0.6))
    assert dict(told.select("snapshot_id", "change").iter_rows()) == {
        1: "right_now",
        2: "wrong_now",
        3: "nearer",
        4: "farther",
        5: "as_near",
    }
    assert told["snapshot_id"].to_list() == [1, 2, 3, 4, 5]
    undecided = judged_otherwise(rows, None)
    assert set(undecided["change"]) == {"nearer", "farther", "as_near"}


def calibration(name: str, **changed: object) -> Calibration:
    target = MonotoneMap(((0.0, 0.1), (1.0, 0.9)))
    usual = Calibration(name, None, Overlap(300, 60, 30), weight=0.25, cut=0.5, target=target)
    return replace(usual, **changed)


def test_judges_that_differ_are_told_by_what_differs_of_them() -> None:
    meta = manifest().meta
    a = HeardJudges(
        (
            HeardJudge(calibration("alike"), 10, 0.1),
            HeardJudge(calibration("muted"), 10, 0.1),
            HeardJudge(calibration("other"), 10, None),
            HeardJudge(calibration("went"), 10, 0.1),
        ),
        {},
    )
    b = HeardJudges(
        (
            HeardJudge(calibration("alike"), 10, 0.1),
            HeardJudge(calibration("came"), 7, 0.1),
            HeardJudge(calibration("muted", reason="too few", weight=0.0), 0, 0.1),
            HeardJudge(
                calibration("other", weight=0.375, target=MonotoneMap(((0.0, 0.2), (1.0, 0.9)))),
                12,
                0.3,
            ),
        ),
        {},
    )
    found = list(judges_that_differ(replace(meta, heard=a), replace(meta, heard=b)))
    assert found == [
        Differing("came", "heard", "no", "yes"),
        Differing("muted", "reason", "–", "too few"),
        Differing("muted", "rows", "10", "0"),
        Differing("muted", "speaks", "yes", "no"),
        Differing("muted", "weight", "0.25", "0.0"),
        Differing("other", "drift", "–", "0.3"),
        Differing("other", "rows", "10", "12"),
        Differing("other", "target_knots", "one map", "another"),
        Differing("other", "weight", "0.25", "0.375"),
        Differing("went", "heard", "yes", "no"),
    ]
    since = list(judges_that_differ(meta, replace(meta, heard=a)))
    assert [(one.where, one.a, one.b) for one in since] == [
        (name, "no", "yes") for name in ("alike", "muted", "other", "went")
    ]
    assert not list(judges_that_differ(meta, meta))


@dataclass(frozen=True)
class Configured(Works):
    """A store in which assets were made with these settings."""

    config: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def put(self, asset: str, value: Artifact, database: Mapping[str, object] | None = REAL,
            **inputs: StoredArtifact) -> StoredArtifact:  # fmt: skip
        provenance = Provenance("run", database=database, config=self.config.get(asset, {}))
        return self.store.write(asset, value, inputs=inputs, provenance=provenance)[0]


def test_settings_that_differ_are_told_with_what_they_were_and_are(
    made: dict[str, Made], tmp_path: Path
) -> None:
    store = ArtifactStore(tmp_path / "artifacts")
    then: dict[str, Mapping[str, object]] = {
        "labels_raw": {"min_rating_count": 1, "not any more": 1},
        "manifest_full": {"binary_threshold": 4.0, "seed": 0},
        "checkpoint": {"strategy": "linear_probe", "new": True, "same": 3, "sessions": ["a"]},
    }
    now: dict[str, Mapping[str, object]] = {
        "labels_raw": {"min_rating_count": 2, "not before": 1},
        "manifest_full": {"binary_threshold": 3.0, "seed": 0},
        "checkpoint": {"strategy": "finetune", "new": False, "same": 3, "sessions": ["a", "b"]},
    }
    a = Configured(store, then).add(made["first"])["onnx_model"]
    b = Configured(store, now).add(made["better"])["onnx_model"]
    meta = replace(made["better"].world.manifest.meta, binary_threshold=3.0)
    labels = (made[name].world.manifest.meta.labels_sha256 for name in ("first", "better"))
    assert list(settings_that_differ(a, b, meta, store)) == [
        # What the labels and the training say of themselves, and is not told again of the settings.
        Differing("definition", "binary_threshold", "4.0", "3.0"),
        Differing("data", "labels", *labels),
        Differing("labels_raw", "min_rating_count", "1", "2"),
        Differing("checkpoint", "new", "yes", "no"),
        Differing("checkpoint", "sessions", '["a"]', '["a", "b"]'),
        Differing("checkpoint", "strategy", "linear_probe", "finetune"),
    ]


def changed(**sides: list[object]) -> pl.DataFrame:
    """Hand-made rows of `label_changes`, of which the page shows all."""
    rows = len(sides["change"])
    usual = {
        "snapshot_id": list(range(1, rows + 1)),
        "webcam_id": 7,
        "split": "train",
        "phase": "sunset",
        "captured_at": "2026-02-12T17:00:00Z",
        "webcam_title": "Alp",
        "raters_before": [1] * rows,
        "raters_after": [2] * rows,
        "origin_before": ["people"] * rows,
        "origin_after": ["people"] * rows,
    }
    return pl.DataFrame(usual | sides)


def test_labels_are_counted_from_what_to_what() -> None:
    flow = flow_of(
        changed(
            change=["new", "gone", "moved", "moved", "confirmed"],
            before=[None, 2.0, 2.0, 3.5, 5.0],
            after=[4.0, None, 4.4, 3.49, 5.0],
        )
    )
    # From none and 1 to 5 stars, down, to 1 to 5 stars and none.
    assert flow == [
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 1, 0, 1],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]


def test_a_card_says_from_what_to_what_and_whose() -> None:
    rows = changed(
        change=["moved", "moved", "new", "gone"],
        before=[2.0, 3.25, None, 1.0],
        after=[4.0, 5.0, 4.5, None],
        raters_before=[1, 0, None, 3],
        raters_after=[2, 1, 2, None],
        origin_before=["people", "judge:gemini", None, "people"],
        origin_after=["people", "people", "people", None],
    )
    groups = {one.name: one for one in label_groups(rows, {})}
    assert [one.told for one in groups["Moved"].cards] == [
        "2 ★ of 1 rating → 4 ★ of 2 ratings",
        "3.25 ★ of judge:gemini → 5 ★ of 1 rating",
    ]
    assert groups["Moved"].cards[0].marks == {"before": 2.0, "after": 4.0}
    assert groups["Moved"].cards[0].facts == "2026-02-12 17:00 UTC · sunset · train"
    assert [one.told for one in groups["New"].cards] == ["no label → 4.5 ★ of 2 ratings"]
    assert [one.told for one in groups["Gone"].cards] == ["1 ★ of 3 ratings → no label"]


def test_slices_are_the_paired_differences_of_their_rows(made: dict[str, Made]) -> None:
    world = made["better"].world
    frame = world.rows("test").frame
    random = np.random.default_rng(0)
    target = frame["target_label"].to_numpy()
    scores = {
        RIVAL: random.uniform(size=len(target)),
        CANDIDATE: (target + random.uniform(size=len(target))) / 2,
    }
    rows = ScoredRows(frame, "binary", 100, 0, scores)
    told = list(by_slice(rows, world.manifest.details, {}))
    known = frame.join(world.manifest.details, on="snapshot_id", how="left", maintain_order="left")
    of_phase = [one for one in told if one.group == "phase"]
    assert [one.of for one in of_phase] == ["sunrise", "sunset"]
    for one in of_phase:
        mask = (known["phase"] == one.of).to_numpy()
        cameras = frame["camera_id"].to_numpy()[mask]
        reference = paired_difference(
            "roc_auc", target[mask], scores[CANDIDATE][mask], scores[RIVAL][mask],
            webcam_id=cameras, bootstrap_samples=100, random_state=0,
        )  # fmt: skip
        assert one.difference == reference.interval()
        assert one.a.value == pytest.approx(roc_auc_score(target[mask], scores[RIVAL][mask]))
        assert one.b.value == pytest.approx(roc_auc_score(target[mask], scores[CANDIDATE][mask]))
        assert (one.rows, one.webcams) == (mask.sum(), len(set(cameras)))


# --- the page -------------------------------------------------------------------------------------


def page_of(live: Live, made: dict[str, Made], older: str, newer: str) -> str:
    return compare_models(
        made[older].version,
        made[newer].version,
        store=live.store,
        images=made[newer].world.images,
    )


@pytest.fixture(scope="module")
def page(prepared: Live, made: dict[str, Made]) -> str:
    return page_of(prepared, made, "first", "better")


def shown(page: str) -> set[int]:
    return {int(one) for one in re.findall(r'id="label-(\d+)"', page)}


def test_the_page_lists_exactly_the_labels_that_changed(page: str, made: dict[str, Made]) -> None:
    before, after = (
        dict(made[name].world.manifest.frame.select("snapshot_id", "label_value").iter_rows())
        for name in ("first", "better")
    )
    changed = {one for one in after if before[one] != after[one]}
    of_labels = page[page.index('id="labels"') : page.index('id="judgements"')]
    named = {int(one) for one in re.findall(r"<li>#(\d+): ", of_labels)}
    assert shown(page) | named == changed
    assert len(page) <= 5_000_000


def test_the_page_of_the_worst_case_stays_below_5_megabytes() -> None:
    """More changes of each kind than are shown, the largest pictures, and texts that escaping swells."""
    swells = "'" * 1_000
    rows = [
        {
            "snapshot_id": 1_000_000 * kind + number,
            "change": ("moved", "new", "confirmed", "gone")[kind],
            "webcam_id": number,
            "split": "val",
            "phase": swells,
            "captured_at": swells,
            "webcam_title": swells,
            "before": None if kind == 1 else 1.23,
            "after": None if kind == 3 else 4.56,
            "raters_before": 1_000,
            "raters_after": 1_000,
            "origin_before": f"judge:{swells}" if kind == 0 else "people",
            "origin_after": "people",
        }
        for kind in range(4)
        for number in range(2_000)
    ]
    kinds = ("right_now", "wrong_now", "nearer", "farther")
    otherwise = [
        {**row, "change": kinds[kind], "label_value": 4.0, "a": 1.23, "b": 4.56}
        for kind in range(4)
        for row in rows[:2_000]
    ]
    labels = pl.DataFrame(rows, infer_schema_length=None)
    judged = pl.DataFrame(otherwise, infer_schema_length=None).drop("before", "after")
    shown = with_pictures(labels, judged)
    largest = data_uri(bytes(largest_picture(len(shown))))
    pictures = dict.fromkeys(shown, largest)
    page = render_page(
        "webcam_ml.changes",
        "page",
        a="a",
        b="b",
        of_gates=False,
        primary=None,
        in_stars=True,
        settings=[],
        judges=[],
        of_judges=[],
        measured=[],
        slices=[],
        labels=list(label_groups(labels, pictures)),
        flow=flow_of(labels),
        judged=list(judgement_groups(judged, pictures, decided=True)),
    )
    assert page.count(largest) == len(shown) > 300
    assert 3_000_000 < len(page.encode()) <= 5_000_000


def test_the_numbers_are_those_of_the_evidence(
    page: str, prepared: Live, made: dict[str, Made]
) -> None:
    champion = prepared.evidence["better"].load(Comparison).evidence.champion
    assert champion is not None
    for metric in champion.metrics.values():
        for one in (metric.candidate, metric.rival):
            assert f"{one.value:.3f}" in page


def test_models_that_cannot_be_compared_are_refused_with_what_to_do(
    live: Live, made: dict[str, Made]
) -> None:
    first, better = made["first"].version, made["better"].version
    cases = {
        ("nothing", better): "there is no model nothing",
        (first, first): "compared with itself",
    }
    for (older, newer), says in cases.items():
        with pytest.raises(WebcamMLError, match=says):
            compare_models(older, newer, store=live.store, images=made["better"].world.images)
    meta = made["first"].exported.meta.model_copy(
        update={"model_version": "regression-x", "target_type": "regression"}
    )
    exported = replace(made["first"].exported, meta=meta)
    inputs = {name: live.found["first"][name] for name in ("checkpoint", "eval_report")}
    Works(live.store).put("onnx_model", exported, **inputs)
    with pytest.raises(WebcamMLError, match="asked different things"):
        compare_models("regression-x", better, store=live.store, images=made["better"].world.images)


def test_labels_of_another_database_are_not_compared(made: dict[str, Made], tmp_path: Path) -> None:
    works = Works(ArtifactStore(tmp_path / "artifacts"))
    works.add(made["first"], {"dialect": "sqlite", "host": "", "name": "other"})
    works.add(made["better"])
    page = compare_models(
        made["first"].version,
        made["better"].version,
        store=works.store,
        images=made["better"].world.images,
    )
    assert "labels of different databases" in page
    assert not shown(page)


def test_pictures_that_are_gone_cost_the_page_nothing_else(
    page: str, live: Live, made: dict[str, Made], tmp_path: Path
) -> None:
    a, b = (live.found[name]["onnx_model"] for name in ("first", "better"))
    measured = measure_stored(a, b, store=live.store, images=made["better"].world.images)
    comparison = live.evidence["better"].load(Comparison)
    found = with_what_changed(
        ComparisonResult(comparison, None, measured.test),
        b,
        store=live.store,
        images=ImageCache(tmp_path),
    ).what_changed
    assert found is not None
    assert shown(found) == shown(page)
    assert "data:image" not in found
    assert "The picture is gone" in found
    assert "B may go live" in found
    assert found.index("gates say yes") < found.index('id="labels"')


def test_the_first_model_says_that_there_is_none_to_compare_with(
    prepared: Live, made: dict[str, Made]
) -> None:
    rows = ScoredRows(made["first"].world.rows("test").frame, "binary", 100, 0, {})
    rows = rows.with_scores(CANDIDATE, np.linspace(0, 1, rows.rows))
    found = with_what_changed(
        ComparisonResult(prepared.evidence["first"].load(Comparison), None, rows),
        prepared.found["first"]["onnx_model"],
        store=prepared.store,
        images=made["first"].world.images,
    ).what_changed
    assert found is not None
    assert "This is the first model" in found
    assert "Metrics on the same test pictures" in found
    assert 'id="labels"' not in found


def test_a_refused_candidate_says_first_which_gates_say_no(
    prepared: Live, made: dict[str, Made]
) -> None:
    """The runtime served nothing, so there are no scores of both."""
    rows = ScoredRows(made["shuffled"].world.rows("test").frame, "binary", 100, 0, {})
    comparison = prepared.evidence["shuffled"].load(Comparison)
    found = with_what_changed(
        ComparisonResult(comparison, None, rows),
        prepared.found["shuffled"]["onnx_model"],
        store=prepared.store,
        images=made["shuffled"].world.images,
    ).what_changed
    assert found is not None
    assert "B does not go live" in found
    assert "could not be measured side by side" in found
    for name, verdict in comparison.verdicts.items():
        assert verdict.passed or f"<b>{name}</b>" in found


def test_the_command_writes_the_page(
    prepared: Live,
    made: dict[str, Made],
    page: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WEBCAM_ML_ARTIFACTS", str(prepared.store.root))
    monkeypatch.setenv("WEBCAM_ML_CACHE", str(made["better"].world.cache))
    versions = [made["first"].version, made["better"].version]
    assert main(["compare", *versions, "--to", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").read_text() == page
    assert str(tmp_path / "page.html") in capsys.readouterr().out
    assert main(["compare", *versions, "--to", str(prepared.store.root / "page.html")]) == 1
    assert "name a file elsewhere" in capsys.readouterr().err


@pytest.fixture
def in_browser(page: str, tmp_path: Path) -> Iterator[Page]:
    executable = shutil.which("chromium")
    if executable is None:
        pytest.fail("there is no chromium: install it (apt-get install chromium)")
    path = tmp_path / "what_changed.html"
    path.write_text(page)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        opened = browser.new_page(viewport={"width": 390, "height": 844})
        complaints: list[str] = []
        opened.on("console", lambda message: complaints.append(message.text))
        opened.on(
            "request",
            lambda request: (
                request.url.startswith((path.as_uri(), "data:")) or complaints.append(request.url)
            ),
        )
        opened.goto(path.as_uri())
        yield opened
        browser.close()
    assert complaints == []


def test_the_first_screen_says_which_is_better_and_leads_to_why(in_browser: Page) -> None:
    page = in_browser
    lead = page.locator(".lead").inner_text()
    assert re.search(r"B is better than A|cannot be told apart", lead)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_role("link", name="Labels", exact=True).click()
    expect(page.locator("#labels h2")).to_be_in_viewport()
    page.locator("#labels .card img").first.scroll_into_view_if_needed()
    expect(page.locator("#labels .card img").first).to_have_js_property("complete", True)
    assert page.locator("#labels .card img").first.evaluate("image => image.naturalWidth") > 0
    page.get_by_role("link", name="Test pictures").click()
    expect(page.locator("#judgements h2")).to_be_in_viewport()
    assert page.locator("#judgements .card").count() > 0


def test_hostile_titles_stay_text_and_nothing_may_run(
    made: dict[str, Made], tmp_path: Path
) -> None:
    better = made["better"]
    manifest = better.world.manifest
    details = manifest.details.with_columns(webcam_title=pl.lit(HOSTILE))
    world = replace(better.world, manifest=replace(manifest, details=details))
    works = Works(ArtifactStore(tmp_path / "artifacts"))
    works.add(made["first"])
    works.add(replace(better, world=world))
    page = compare_models(
        made["first"].version, better.version, store=works.store, images=world.images
    )
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert 'onerror="' not in page
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
