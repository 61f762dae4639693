import itertools
from collections import Counter, defaultdict
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webcam_ml.dataset import SplitConfig
from webcam_ml.demo import DemoOptions
from webcam_ml.demo._plan import Shows, Snapshot, average, plan_snapshots
from webcam_ml.errors import WebcamMLError


@pytest.fixture(scope="module")
def usual() -> tuple[Snapshot, ...]:
    return plan_snapshots(DemoOptions())


@pytest.fixture(scope="module")
def many() -> list[tuple[Snapshot, ...]]:
    return [plan_snapshots(DemoOptions(seed=seed)) for seed in range(8)]


def stars_of(snapshot: Snapshot) -> list[int]:
    return [vote.stars for vote in snapshot.votes if vote.stars is not None]


@settings(max_examples=25)
@given(
    st.integers(0, 2**31),
    st.integers(8, 60),
    st.integers(1, 80),
    st.integers(0, 60),
    st.floats(0, 1),
)
def test_more_snapshots_are_the_same_ones_and_then_some(seed, webcams, few, more, unrated):
    smaller, larger = (
        plan_snapshots(
            DemoOptions(seed=seed, webcams=webcams, snapshots=count, unrated_fraction=unrated)
        )
        for count in (few, few + more)
    )
    assert larger[: len(smaller)] == smaller
    assert sum(snapshot.is_rated for snapshot in smaller) == few
    assert [snapshot.id for snapshot in larger] == list(range(1, len(larger) + 1))


def test_another_seed_is_another_demo(many):
    assert many[0] != many[1]
    assert {snapshot.webcam.webcam_id for snapshot in many[0]}.isdisjoint(
        snapshot.webcam.webcam_id for snapshot in many[1]
    )


def test_the_test_split_is_thick_enough_for_the_release_gates(usual):
    rows = defaultdict(list)
    for snapshot in usual:
        if snapshot.is_rated and not snapshot.dead and not snapshot.truncated:
            rows[SplitConfig().split_of(snapshot.webcam.webcam_id)].append(snapshot)
    for split, fewest in (("test", 100), ("val", 100), ("train", 500)):
        frames = Counter(snapshot.webcam.webcam_id for snapshot in rows[split])
        positive = [snapshot for snapshot in rows[split] if snapshot.cached_rating >= 4]
        effective = frames.total() ** 2 / sum(count**2 for count in frames.values())
        assert frames.total() >= fewest
        assert len(frames) >= 25
        assert len(positive) >= 20
        assert len({snapshot.webcam.webcam_id for snapshot in positive}) >= 8
        assert effective >= 5


def test_webcams_are_sparse_many_and_very_unequal(usual):
    frames = Counter(snapshot.webcam.webcam_id for snapshot in usual)
    assert len(frames) >= 220
    assert all(0 < webcam_id <= 16_500_000 for webcam_id in frames)
    assert max(frames) > 10_000_000
    assert frames.most_common(1)[0][1] >= 40
    assert sum(count <= 3 for count in frames.values()) > len(frames) / 2


def test_most_frames_follow_the_one_before_within_35_minutes(many):
    for plan in many:
        times = defaultdict(list)
        for snapshot in plan:
            times[snapshot.webcam.webcam_id].append(snapshot.captured_at)
        gaps = [
            later - earlier
            for frames in map(sorted, times.values())
            for earlier, later in itertools.pairwise(frames)
        ]
        assert 0.6 < sum(gap < timedelta(minutes=35) for gap in gaps) / len(gaps) < 0.82
        # Near-duplicates, beside frames that were taken at one and the same time: none.
        assert sum(gap < timedelta(minutes=2.5) for gap in gaps) > 20
        assert min(gaps) > timedelta(0)


def test_stars_are_shared_out_as_in_the_real_data(many):
    stars = Counter(star for plan in many for snapshot in plan for star in stars_of(snapshot))
    real = {1: 0.62, 2: 0.10, 3: 0.08, 4: 0.11, 5: 0.09}
    for star, share in real.items():
        assert stars[star] / stars.total() == pytest.approx(share, abs=0.03)


def test_raters_are_as_many_as_asked_for_and_people_disagree(usual):
    def raters(plan):
        counts = [len(stars_of(snapshot)) for snapshot in plan if snapshot.is_rated]
        return sum(counts) / len(counts)

    assert raters(usual) == pytest.approx(1.5, abs=0.1)
    assert raters(plan_snapshots(DemoOptions(raters_per_snapshot=1))) == 1
    crowd = plan_snapshots(DemoOptions(snapshots=300, raters_per_snapshot=4))
    assert raters(crowd) == pytest.approx(4, abs=0.3)
    several = [stars for snapshot in crowd if len(stars := stars_of(snapshot)) > 1]
    of_two_minds = sum(len(set(stars)) > 1 for stars in several) / len(several)
    assert 0.2 < of_two_minds < 0.8
    sessions = Counter(vote.session for snapshot in crowd for vote in snapshot.votes)
    assert sessions.most_common(1)[0][1] > 5 * sessions.total() / len(sessions)


def test_nobody_votes_twice_on_a_snapshot(many):
    for plan in many:
        for snapshot in plan:
            sessions = [vote.session for vote in snapshot.votes]
            assert len(set(sessions)) == len(sessions)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_the_cached_average_is_rounded_as_sql_does(stars):
    exact = Decimal(sum(stars)) / len(stars)
    assert Decimal(str(average(stars))) == exact.quantize(Decimal("0.01"), ROUND_HALF_UP)


def test_a_few_cached_averages_are_stale_and_the_others_fresh(usual):
    rated = [snapshot for snapshot in usual if snapshot.is_rated]
    stale = [s for s in rated if s.cached_rating != average(stars_of(s))]
    assert len(stale) == 6
    assert all(1 <= snapshot.cached_rating <= 5 for snapshot in stale)
    assert all(not stars_of(snapshot) for snapshot in usual if not snapshot.is_rated)


def test_some_votes_carry_no_stars(usual):
    verdicts = [s for s in usual if any(vote.stars is None for vote in s.votes)]
    assert sum(snapshot.is_rated for snapshot in verdicts) == 15
    assert sum(not snapshot.is_rated for snapshot in verdicts) >= 10


def test_some_snapshots_are_unrated_and_some_pictures_broken(usual):
    unrated = [snapshot for snapshot in usual if not snapshot.is_rated]
    assert len(unrated) / 900 == pytest.approx(0.15, abs=0.01)
    assert sum(snapshot.dead for snapshot in usual) == 2
    assert sum(snapshot.truncated for snapshot in usual) == 2


def test_the_offline_card_is_shown_by_several_webcams_and_loved_by_none(many):
    for plan in many:
        cards = [snapshot for snapshot in plan if snapshot.shows is Shows.OFFLINE_CARD]
        assert len({snapshot.webcam.webcam_id for snapshot in cards}) > 3
        assert all(star == 1 for snapshot in cards for star in stars_of(snapshot))


def test_one_camera_stands_under_two_ids_in_different_splits(many):
    for plan in many:
        copies = [snapshot for snapshot in plan if snapshot.shows is Shows.MIRROR]
        assert copies
        originals = {(s.webcam.webcam_id, s.captured_at) for s in plan if s.shows is Shows.VIEW}
        for copy in copies:
            # The last frames of the last visit may be cut off by the number asked for.
            assert (copy.scene.webcam_id, copy.captured_at) in originals
            splits = {SplitConfig().split_of(c.webcam_id) for c in (copy.webcam, copy.scene)}
            assert splits == {"train", "test"}


def test_a_small_demo_has_the_odd_parts_too():
    plan = plan_snapshots(DemoOptions(webcams=12, snapshots=60))
    assert {snapshot.shows for snapshot in plan} == set(Shows)
    assert any(snapshot.dead for snapshot in plan)
    assert any(snapshot.truncated for snapshot in plan)
    rated = [snapshot for snapshot in plan if snapshot.is_rated]
    assert any(snapshot.cached_rating != average(stars_of(snapshot)) for snapshot in rated)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("seed", -1),
        ("webcams", 7),
        ("snapshots", 0),
        ("raters_per_snapshot", 0.9),
        ("raters_per_snapshot", float("nan")),
        ("unrated_fraction", -0.1),
        ("image_width", 10),
    ],
)
def test_an_option_that_makes_no_demo_is_refused_by_name(option, value):
    with pytest.raises(WebcamMLError, match=option):
        DemoOptions(**{option: value})
