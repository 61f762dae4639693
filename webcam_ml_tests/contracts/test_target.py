"""Targets against what they are made of, and the promise that nobody else asks for the type."""

import pickle
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit
from sklearn.metrics import log_loss

from webcam_ml.contracts import TARGETS, Target, TargetType, rating_of, score_of, target_of

BINARY, REGRESSION = target_of("binary"), target_of("regression")
EACH = pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
VALUES = arrays(np.float64, st.integers(1, 20), elements=st.floats(-30, 30))


def test_the_names_that_documents_allow_are_those_of_the_targets() -> None:
    assert get_args(TargetType) == tuple(TARGETS)
    assert all(TARGETS[name].name == name for name in TARGETS)


@given(st.floats(0, 1))
def test_stars_and_scores_are_inverse(score: float) -> None:
    assert 1 <= rating_of(score) <= 5
    assert score_of(rating_of(score)) == pytest.approx(score, abs=1e-15)


@EACH
@given(value=VALUES)
def test_squashing_keeps_order_and_range(target: Target, value) -> None:
    squashed = target.squash(value)
    assert ((squashed >= 0) & (squashed <= 1)).all()
    assert (np.diff(squashed[np.argsort(value)]) >= 0).all()


def test_losses_are_those_of_scikit_learn_and_torch() -> None:
    import torch

    rng = np.random.default_rng(0)
    value, classes, ratings = rng.normal(0, 3, 50), rng.integers(0, 2, 50) * 1.0, rng.random(50)
    assert BINARY.loss(classes, value) == pytest.approx(log_loss(classes, expit(value)))
    assert REGRESSION.loss(ratings, value) == pytest.approx(
        ((np.clip(value, 0, 1) - ratings) ** 2).mean()
    )
    each = BINARY.torch_loss(torch.from_numpy(value), torch.from_numpy(classes))
    assert float(each.mean()) == pytest.approx(BINARY.loss(classes, value))


@EACH
def test_no_constant_has_less_loss_than_the_constant_loss(target: Target) -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random(40) > 0.6).astype(np.float64)
    weight = np.ones(40, np.float32)
    # Log-odds, or ratings of 0 to 1.
    tried = [target.loss(labels, np.full(40, value)) for value in np.linspace(-3, 3, 601)]
    assert target.constant_loss(labels, weight) == pytest.approx(min(tried), abs=1e-4)
    assert target.constant_loss(labels, weight) <= min(tried) + 1e-12


@EACH
def test_a_label_comes_back_from_the_scale_of_the_head(target: Target) -> None:
    labels = np.linspace(*target.scale, 9)
    np.testing.assert_allclose(target.prediction(target.to_head(labels)), labels, atol=1e-15)
    assert target.to_head(labels).min() == 0
    assert target.to_head(labels).max() == 1


@EACH
def test_margin_and_floor_point_the_way_of_the_primary_metric(target: Target) -> None:
    from webcam_ml.judging import ComparisonSettings

    limit = target.margin(ComparisonSettings())
    assert target.is_better(0.0, limit), "an equal model is within the margin"
    assert target.is_better(1.0, 0.5) == (target.quality(1.0) > target.quality(0.5))


@EACH
def test_a_target_survives_the_way_to_another_process(target: Target) -> None:
    assert pickle.loads(pickle.dumps(target)).name == target.name  # noqa: S301
