import numpy as np
import pytest

from webcam_ml_tests.judging.power import LIVE_AUC, SHARED, WORLDS, draw, passes, sight_of, truth


@pytest.fixture(scope="module")
def live_sight() -> float:
    return sight_of(LIVE_AUC)


def test_models_of_the_simulation_are_as_good_as_they_are_said_to_be(live_sight: float) -> None:
    assert truth((live_sight, live_sight))[0] == pytest.approx(LIVE_AUC, abs=0.001)


def test_worlds_have_the_sizes_that_the_documentation_names() -> None:
    assert {name: (sizes.sum(), len(sizes)) for name, sizes in WORLDS.items()} == {
        "real": (747, 85),
        "demo": (117, 35),
    }


def test_models_that_share_more_mistakes_differ_less(live_sight: float) -> None:
    spread = {}
    for kinship, shared in SHARED.items():
        drawn = draw(WORLDS["real"], (live_sight,) * 2, shared, np.random.default_rng(0))
        spread[kinship] = np.abs(np.subtract(*drawn.scores)).mean()
    assert 0 < spread["retrained"] < spread["another backbone"]


def test_a_clearly_worse_model_hardly_ever_passes(live_sight: float) -> None:
    """The table says 0.3 %; of 60, four and more would be a chance of one in 30,000."""
    rng = np.random.default_rng(3)
    worse = sight_of(LIVE_AUC - 0.05)
    found = [
        passes(WORLDS["demo"], (worse, live_sight), SHARED["retrained"], rng, 200)
        for _ in range(60)
    ]
    assert np.sum(found, axis=0).max() < 4
