"""The same picture under two webcams: what is found, what is not taken for it, what is set aside."""

import io
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from polars.testing import assert_frame_equal

from webcam_ml.dataset import (
    SPLIT_NAMES,
    Manifest,
    SplitConfig,
    build_manifest,
    rows_with_pictures,
)
from webcam_ml.dataset.duplicates import (
    ComparedImages,
    DuplicateWebcams,
    Matches,
    NearDuplicates,
    compare_images,
    connected_webcams,
    devices_in_two_splits,
    find_duplicate_webcams,
    fingerprint,
    match_pictures,
)
from webcam_ml.dataset.duplicates._template import (
    correlation,
    template_sizes,
    templates,
    window_norms,
)
from webcam_ml.dataset.images import (
    ArrayCache,
    ImageCache,
    ImageIndex,
    ImageSettings,
    build_image_index,
)
from webcam_ml.errors import WebcamMLError
from webcam_ml.orchestration import presentation
from webcam_ml_tests.dataset.planted import ALTERATIONS, Pictures, draw_clean, flagged, recalls
from webcam_ml_tests.dataset.synthetic_hours import match_synthetic
from webcam_ml_tests.world import make_labels

EVENING = "2026-02-12T17:45:00Z"
SAME_HOUR = "2026-02-12T18:44:59.5Z"
LATER = "2026-02-12T18:45:01Z"


def texture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 30, 4096).clip(-127, 127).astype(np.int8)


def match(*rows: tuple[int, str | None, int, int]) -> Matches:
    """Match rows of (webcam, time, file, what it shows); files that show the same correlate at 0.9."""
    files = {file: shows for _, _, file, shows in rows}
    textures = []
    for file in sorted(files):
        own = texture(files[file])
        own[: 40 * file] = 0  # another file, the same view
        textures.append(own)
    views = [np.random.default_rng(files[file]).integers(0, 2**63) for file in sorted(files)]
    frame = pl.DataFrame(
        {
            "snapshot_id": range(1, len(rows) + 1),
            "webcam_id": [webcam for webcam, *_ in rows],
            "captured_at": pl.Series([time for _, time, *_ in rows], dtype=pl.String),
            "sha256": [f"{file:064d}" for *_, file, _ in rows],
        }
    )
    return match_pictures(frame, np.array(views, np.uint64), np.stack(textures))


def webcam_pairs(matches: Matches) -> list[tuple[int, int]]:
    return matches.pairs.select("webcam_a", "webcam_b").rows()


@pytest.fixture(scope="module")
def drawn() -> tuple[list[Image.Image], Pictures]:
    pictures = draw_clean(24, seed=8, width=640)
    return pictures, Pictures.of(pictures, first_webcam=0)


def test_planted_copies_are_found_after_each_alteration(
    drawn: tuple[list[Image.Image], Pictures],
) -> None:
    for recall in recalls(*drawn, ALTERATIONS):
        assert (recall.scenes + recall.skies) / 2 >= 0.95, recall


def test_no_clean_picture_is_taken_for_another_even_if_all_are_of_one_hour(
    drawn: tuple[list[Image.Image], Pictures],
) -> None:
    assert flagged(drawn[1]).mean() <= 0.01


def test_the_hash_says_which_neighbour_is_darker() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    grey = np.asarray(Image.fromarray(pixels).convert("L"), np.float64)
    bits = ""
    for row in range(8):
        means = [grey[10 * row : 10 * row + 10, 10 * c : 10 * c + 10].mean() for c in range(9)]
        bits += "".join("1" if right > left else "0" for left, right in pairwise(means))
    assert fingerprint(pixels)[-8:].tobytes() == int(bits, 2).to_bytes(8, "big")


def test_brightness_and_contrast_leave_the_texture_as_it_is() -> None:
    random = np.random.default_rng(1)
    pixels = (60 + random.integers(0, 100, (128, 128, 1), dtype=np.uint8)).repeat(3, axis=2)
    brighter = pixels + np.uint8(40)
    np.testing.assert_array_equal(fingerprint(pixels), fingerprint(brighter))


def test_correlation_is_pearsons_at_the_best_place() -> None:
    whole = texture(2)
    part = texture(3)
    image = Image.fromarray(part.reshape(64, 64).astype(np.float32))
    best = -1.0
    for height, width in template_sizes():
        small = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
        for top in range(65 - height):
            for left in range(65 - width):
                below = whole.reshape(64, 64)[top : top + height, left : left + width]
                best = max(best, float(np.corrcoef(small.ravel(), below.ravel())[0, 1]))
    found = correlation(templates(part), whole[None], window_norms(whole)[None])
    assert found[0] == pytest.approx(best, abs=1e-5)


def test_a_picture_without_detail_resembles_nothing() -> None:
    flat = fingerprint(np.full((48, 64, 3), 128, np.uint8))[:-8]
    assert correlation(templates(flat), flat[None], window_norms(flat)[None])[0] == 0.0


def test_only_captures_within_an_hour_are_candidates() -> None:
    assert webcam_pairs(match((1, EVENING, 1, 7), (2, SAME_HOUR, 2, 7))) == [(1, 2)]
    assert webcam_pairs(match((1, EVENING, 1, 7), (2, LATER, 2, 7))) == []


def test_one_webcam_may_show_the_same_as_often_as_it_likes() -> None:
    assert match((1, EVENING, 1, 7), (1, SAME_HOUR, 2, 7), (1, LATER, 1, 7)).pairs.is_empty()


def test_where_the_time_is_unknown_equal_files_are_found_and_nothing_else() -> None:
    found = match((1, None, 1, 7), (2, EVENING, 1, 7), (3, EVENING, 2, 8), (4, None, 3, 8))
    assert webcam_pairs(found) == [(1, 2)]
    assert found.without_time == 2


def test_a_picture_of_more_than_three_other_webcams_is_a_placeholder() -> None:
    cards = [(webcam, EVENING, webcam, 7) for webcam in range(1, 5)]
    assert len(webcam_pairs(match(*cards))) == 6
    found = match(*cards, (5, EVENING, 5, 7))
    assert found.pairs.is_empty()
    assert found.placeholders["webcams"].to_list() == [5] * 5


def test_a_placeholder_is_known_by_webcams_of_other_days() -> None:
    days = [(webcam, f"2026-03-{webcam:02d}T12:00:00Z", webcam, 7) for webcam in (3, 4, 5)]
    found = match((1, EVENING, 1, 7), (2, EVENING, 2, 7), *days)
    assert found.pairs.is_empty()
    # The others were compared with nobody of their hour: they are no pair and need no notice.
    assert found.placeholders["sha256"].to_list() == [f"{1:064d}", f"{2:064d}"]


def test_a_file_that_comes_again_under_another_webcam_much_later_is_no_view() -> None:
    found = match((1, EVENING, 1, 7), (2, EVENING, 1, 7), (2, LATER, 1, 7))
    assert found.pairs.is_empty()
    assert found.placeholders.rows() == [(f"{1:064d}", 2, 3, 1)]


def test_the_order_of_the_rows_decides_nothing() -> None:
    pictures = draw_clean(4, seed=2, width=96)
    rows = np.stack([fingerprint(np.asarray(picture)) for picture in [*pictures, *pictures[:3]]])
    rows[8:, :200] = 0
    frame = pl.DataFrame(
        {
            "snapshot_id": range(11),
            "webcam_id": [1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9],
            "captured_at": [EVENING] * 11,
            "sha256": [f"{number:064d}" for number in range(11)],
        }
    )
    hashes = np.ascontiguousarray(rows[:, -8:]).view(np.uint64).ravel()
    one, other = (
        match_pictures(either, hashes, rows[:, :-8])
        for either in (frame, frame.sample(fraction=1, shuffle=True, seed=1))
    )
    assert {(1, 9), (2, 9), (3, 9)} <= set(webcam_pairs(one))
    assert_frame_equal(one.pairs, other.pairs)
    assert_frame_equal(one.placeholders, other.placeholders)


def test_webcams_are_one_camera_through_others() -> None:
    pairs = pl.DataFrame({"webcam_a": [9, 3, 20, 3], "webcam_b": [11, 9, 21, 9]})
    assert connected_webcams(pairs) == ((3, 9, 11), (20, 21))
    assert connected_webcams(pairs.clear()) == ()
    assert connected_webcams(pairs, [(1, 2, 20), (7, 8)]) == ((1, 2, 20, 21), (3, 9, 11), (7, 8))
    assert connected_webcams(pairs.clear(), [(7, 8)]) == ((7, 8),)


webcams = st.integers(1, 16_500_000)


@given(st.sets(webcams, min_size=1, max_size=8), st.sets(webcams, min_size=2, max_size=5))
def test_a_group_goes_where_its_most_reserved_webcam_went_and_nobody_else_moves(
    others: set[int], group: set[int]
) -> None:
    config = SplitConfig()
    assigned = dict(config.assign(others | group, groups=[tuple(group)]).iter_rows())
    places = {assigned[webcam] for webcam in group}
    assert len(places) == 1
    assert places <= {config.split_of(webcam) for webcam in group}
    for webcam in others - group:
        assert assigned[webcam] == config.split_of(webcam)
    for webcam in group:
        before, after = config.split_of(webcam), assigned[webcam]
        assert SPLIT_NAMES.index(after) >= SPLIT_NAMES.index(before)


@given(st.lists(webcams, min_size=3, max_size=6, unique=True))
def test_a_group_that_grows_moves_towards_test_only(group: list[int]) -> None:
    config = SplitConfig()
    places = [
        dict(config.assign(group, groups=[group[:size]]).iter_rows())[group[0]]
        for size in range(2, len(group) + 1)
    ]
    order = [SPLIT_NAMES.index(place) for place in places]
    assert order == sorted(order)


def test_a_manifest_says_which_webcams_it_kept_together_and_only_then(tmp_path: Path) -> None:
    labels = make_labels()
    plain = build_manifest(labels)
    assert "duplicate_webcams" not in plain.meta.to_dict()
    config = SplitConfig()
    by_split = {config.split_of(webcam): webcam for webcam in range(1000, 1040)}
    pair = (by_split["train"], by_split["test"])
    found = DuplicateWebcams(
        groups=(tuple(sorted(pair)),), pictures_sha256="0" * 64, compared=160, left_out=0
    )
    merged = build_manifest(labels, duplicate_webcams=found)
    merged.save(tmp_path)
    assert Manifest.load(tmp_path).meta == merged.meta
    moved = plain.frame.filter(plain.frame["split"] != merged.frame["split"])
    assert set(moved["webcam_id"]) == {by_split["train"]}
    assert merged.webcams_in_two_splits().is_empty()
    # The plain division tears this camera apart.
    torn = replace(plain, meta=merged.meta).webcams_in_two_splits()
    assert torn.rows() == [(min(pair), "test, train")]


@pytest.fixture(scope="module")
def small() -> list[Image.Image]:
    return draw_clean(20, seed=4, width=160)


@pytest.fixture
def twins(
    small: list[Image.Image], tmp_path: Path
) -> tuple[Manifest, ImageIndex, ImageCache, Path]:
    """A manifest in which two webcams of different splits show the same evening."""
    labels = make_labels(webcams=40, per_webcam=1, folder=tmp_path)
    split = SplitConfig()
    one = next(webcam for webcam in range(1000, 1040) if split.split_of(webcam) == "train")
    other = next(webcam for webcam in range(1000, 1040) if split.split_of(webcam) == "test")
    for row, picture in zip(labels.frame.iter_rows(named=True), small, strict=True):
        shown = small[0] if row["webcam_id"] in (one, other) else picture
        quality = 60 if row["webcam_id"] == other else 90
        data = io.BytesIO()
        shown.save(data, "JPEG", quality=quality)
        Path(row["image_path_or_url"]).write_bytes(data.getvalue())
    labels = replace(
        labels,
        frame=labels.frame.with_columns(
            captured_at=pl.lit(EVENING), label_value=pl.Series([1.0, 5.0] * 20)
        ),
    )
    manifest = build_manifest(labels, split=split)
    cache = ImageCache(tmp_path / "cache")
    index = build_image_index(manifest.frame, cache=cache, settings=ImageSettings())
    return manifest, index, cache, tmp_path / "cache"


def test_merged_webcams_are_one_camera_to_folds_and_resamples(
    twins: tuple[Manifest, ImageIndex, ImageCache, Path],
) -> None:
    manifest, index, _, _ = twins
    plain = rows_with_pictures(manifest, index).frame
    assert plain["camera_id"].to_list() == plain["webcam_id"].to_list()
    found = DuplicateWebcams(((1003, 1007),), "0" * 64, compared=40, left_out=0)
    meta = replace(manifest.meta, duplicate_webcams=found)
    merged = rows_with_pictures(replace(manifest, meta=meta), index).frame
    changed = merged.filter(pl.col("camera_id") != pl.col("webcam_id"))
    assert changed.select("webcam_id", "camera_id").rows() == [(1007, 1003)]


def test_what_is_found_is_kept_with_the_pictures_and_read_back(
    twins: tuple[Manifest, ImageIndex, ImageCache, Path], tmp_path: Path
) -> None:
    manifest, index, images, cache = twins
    compared = compare_images(manifest.frame, index, images=images, cache=cache)
    across = compared.near_duplicates.across_splits()
    assert across.height == 1
    assert set(across.select("split_a", "split_b").row(0)) == {"train", "test"}
    stored = [tmp_path / name for name in ("one", "other")]
    for folder in stored:
        folder.mkdir()
        compare_images(manifest.frame, index, images=images, cache=cache).save(folder)
    for path in stored[0].iterdir():
        assert path.read_bytes() == (stored[1] / path.name).read_bytes()
    again = ComparedImages.load(stored[0])
    assert_frame_equal(again.near_duplicates.pairs, compared.near_duplicates.pairs)
    assert_frame_equal(again.index.frame, index.frame)
    (stored[0] / "near_duplicates_meta.json").unlink()
    with pytest.raises(WebcamMLError, match="Materialize image_index again"):
        NearDuplicates.load(stored[0])


def test_pairs_are_shown_with_small_pictures_or_a_word_where_one_is_gone(
    twins: tuple[Manifest, ImageIndex, ImageCache, Path],
) -> None:
    manifest, index, images, cache = twins
    found = compare_images(manifest.frame, index, images=images, cache=cache).near_duplicates
    shown = presentation.of_near_duplicates(found, images=images)["across splits"].value
    assert shown.count("data:image/jpeg;base64,") == 2
    assert len(shown) < 15_000
    gone = found.across_splits()["sha256_a"][0]
    (cache / "images" / gone[:2] / gone).unlink()
    shown = presentation.of_near_duplicates(found, images=images)["across splits"].value
    assert shown.count("data:image/jpeg;base64,") == 1
    assert "gone from the cache" in shown


def test_fingerprints_of_known_pictures_are_not_taken_again_but_where_they_decide(
    twins: tuple[Manifest, ImageIndex, ImageCache, Path],
) -> None:
    """A picture of validation and test, or one that resembles another, is looked at each time."""
    manifest, index, images, cache = twins
    first = compare_images(manifest.frame, index, images=images, cache=cache)
    pairs = first.near_duplicates.pairs
    needed = {*pairs["sha256_a"], *pairs["sha256_b"]} | {
        *manifest.frame.filter(pl.col("split") != "train").join(index.frame, on="snapshot_id")[
            "sha256"
        ]
    }
    for path in (cache / "images").glob("??/*"):
        if path.name not in needed:
            path.unlink()  # what is not there cannot be looked at
    second = compare_images(manifest.frame, index, images=images, cache=cache)
    assert_frame_equal(pairs, second.near_duplicates.pairs)


def forge(cache: Path, fingerprint_of: dict[str, np.ndarray]) -> None:
    """Write the cache of fingerprints as somebody would who may write there and nowhere else."""
    (kept,) = (cache / "fingerprints").glob("*.sqlite")
    kept.unlink()
    ArrayCache(kept, np.int8).keep(fingerprint_of)


def kept_fingerprints(index: ImageIndex, cache: Path) -> dict[str, np.ndarray]:
    (kept,) = (cache / "fingerprints").glob("*.sqlite")
    return ArrayCache(kept, np.int8).read(index.usable()["sha256"].to_list())


def test_forged_fingerprints_leave_no_chosen_row_out_of_test(
    twins: tuple[Manifest, ImageIndex, ImageCache, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Four pictures of other webcams that seem to show the same made a placeholder of any picture."""
    manifest, index, images, cache = twins
    honest = compare_images(manifest.frame, index, images=images, cache=cache)
    of = dict(
        manifest.frame.join(index.frame, on="snapshot_id").select("sha256", "split").iter_rows()
    )
    unwanted = next(digest for digest, split in of.items() if split == "test")
    accomplices = [digest for digest, split in of.items() if split == "train"][:6]
    prints = kept_fingerprints(index, cache)
    forge(cache, prints | dict.fromkeys(accomplices, prints[unwanted]))
    found = compare_images(manifest.frame, index, images=images, cache=cache)
    assert_frame_equal(found.index.frame, honest.index.frame)
    assert_frame_equal(found.near_duplicates.pairs, honest.near_duplicates.pairs)
    assert "is not what the picture gives" in caplog.text


def test_forged_fingerprints_keep_no_card_in_test(
    small: list[Image.Image],
    twins: tuple[Manifest, ImageIndex, ImageCache, Path],
) -> None:
    manifest, _, images, cache = twins
    judged = manifest.frame.filter(pl.col("split") != "train")["image_path_or_url"].to_list()
    card = small[1]
    for quality, path in enumerate(judged, start=50):
        card.save(path, "JPEG", quality=quality)
    index = build_image_index(manifest.frame, cache=images, settings=ImageSettings())
    honest = compare_images(manifest.frame, index, images=images, cache=cache).index
    assert honest.left_out().height == len(judged) > 4
    random = np.random.default_rng(0)
    forge(
        cache,
        {
            digest: random.integers(-99, 99, len(row), dtype=np.int8)
            for digest, row in kept_fingerprints(index, cache).items()
        },
    )
    found = compare_images(manifest.frame, index, images=images, cache=cache).index
    assert_frame_equal(found.frame, honest.frame)


def test_forged_fingerprints_marry_no_webcams(
    twins: tuple[Manifest, ImageIndex, ImageCache, Path],
) -> None:
    """The camera of a test row and one of training would have been one, and gone into one split."""
    manifest, index, images, cache = twins

    def groups() -> tuple[tuple[int, ...], ...]:
        return find_duplicate_webcams(
            manifest.frame.drop("split"), images=images, cache=cache, settings=ImageSettings()
        ).groups

    honest = groups()
    prints = kept_fingerprints(index, cache)
    one, other = sorted(prints)[:2]
    forge(cache, prints | {one: prints[other]})
    assert groups() == honest


def test_duplicate_webcams_are_found_before_there_is_a_manifest(
    twins: tuple[Manifest, ImageIndex, ImageCache, Path],
) -> None:
    manifest, index, images, cache = twins
    across = compare_images(manifest.frame, index, images=images, cache=cache).near_duplicates
    found = find_duplicate_webcams(
        manifest.frame, images=images, cache=cache, settings=ImageSettings()
    )
    assert found.groups == tuple(across.across_splits().select("webcam_a", "webcam_b").rows())
    assert (found.compared, found.left_out) == (40, 0)
    assert DuplicateWebcams.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_a_device_joins_its_webcams_whatever_their_pictures_show(
    twins: tuple[Manifest, ImageIndex, ImageCache, Path],
) -> None:
    manifest, _, images, cache = twins
    split = SplitConfig()
    plain = dict(manifest.frame.select("webcam_id", "split").iter_rows())
    shown = find_duplicate_webcams(
        manifest.frame, images=images, cache=cache, settings=ImageSettings()
    )
    assert "devices" not in shown.to_dict()
    alone = sorted(set(plain) - set(shown.camera_of))
    device = tuple(
        next(webcam for webcam in alone if split.split_of(webcam) == name) for name in SPLIT_NAMES
    )
    devices = pl.DataFrame({"device_id": [1] * len(device), "webcam_id": device})
    torn = devices_in_two_splits(devices, manifest.frame)
    assert torn.to_dicts() == [
        {
            "device_id": 1,
            "webcams": ", ".join(map(str, sorted(device))),
            "splits": "test, train, val",
            "snapshots": 3,
        }
    ]
    found = find_duplicate_webcams(
        manifest.frame, devices=devices, images=images, cache=cache, settings=ImageSettings()
    )
    assert found.devices == (tuple(sorted(device)),)
    assert set(found.groups) == {*shown.groups, *found.devices}
    assert DuplicateWebcams.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    labels = make_labels(webcams=40, per_webcam=1)
    both_classes = labels.frame.with_columns(label_value=pl.Series([1.0, 5.0] * 20))
    merged = build_manifest(replace(labels, frame=both_classes), duplicate_webcams=found)
    assert devices_in_two_splits(devices, merged.frame).is_empty()
    moved = {
        webcam
        for webcam, place in merged.frame.select("webcam_id", "split").iter_rows()
        if place != plain[webcam]
    }
    members = {webcam for group in found.groups for webcam in group}
    assert moved == {webcam for webcam in members if plain[webcam] != "test"}


def test_pairs_are_found_among_many_pictures() -> None:
    assert match_synthetic(pictures=500, webcams=60, days=1, planted=20) == 20


@pytest.mark.slow
def test_fifty_thousand_pictures_of_one_day_are_compared() -> None:
    assert match_synthetic(pictures=50_000, webcams=600, days=1, planted=200) == 200
