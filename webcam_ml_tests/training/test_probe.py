import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from webcam_ml.contracts import Target, target_of
from webcam_ml.errors import WebcamMLError
from webcam_ml.training import JudgedRows, fit_probe
from webcam_ml.training._probe import _folds, span_of_rows

BINARY, REGRESSION = target_of("binary"), target_of("regression")


def drawn(
    seed: int = 0, webcams: int = 30, per_webcam: int = 6
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    rows = webcams * per_webcam
    groups = np.repeat(np.arange(webcams) * 17, per_webcam)
    features = random.normal(size=(rows, 12)) * random.uniform(0.1, 30, 12) + 5
    signal = (features[:, 0] - 5) / features[:, 0].std() + random.normal(size=rows)
    return features.astype(np.float32), (signal > 0.5).astype(float), groups


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_the_folded_head_is_scikit_learns_pipeline(class_weight: str) -> None:
    features, target, groups = drawn()
    probe = fit_probe(features, target, groups, asked=BINARY, class_weight=class_weight)
    reference = make_pipeline(
        StandardScaler(),
        LogisticRegression(
            C=probe.penalty,
            class_weight=None if class_weight == "none" else class_weight,
            solver="newton-cholesky",
            tol=1e-10,
        ),
    ).fit(features.astype(np.float64), target)
    np.testing.assert_allclose(
        probe.head(features), reference.decision_function(features.astype(np.float64)), atol=5e-3
    )


def test_the_folded_regression_head_is_scikit_learns_pipeline() -> None:
    features, target, groups = drawn()
    rating = 0.2 + 0.5 * target
    probe = fit_probe(features, rating, groups, asked=REGRESSION)
    reference = make_pipeline(StandardScaler(), Ridge(alpha=probe.penalty)).fit(
        features.astype(np.float64), rating
    )
    np.testing.assert_allclose(
        probe.head(features), reference.predict(features.astype(np.float64)), atol=1e-9
    )


def test_out_of_fold_values_know_nothing_of_the_rows_webcam() -> None:
    features, target, groups = drawn()
    before = fit_probe(features, target, groups, asked=BINARY)
    # The labels of one webcam in another order: what is predicted for its rows must not notice.
    # (Counts per webcam decide the folds, so they stay.)
    compared = 0
    for group in np.unique(groups)[:8]:
        webcam = groups == group
        changed = target.copy()
        changed[webcam] = target[webcam][::-1]
        after = fit_probe(features, changed, groups, asked=BINARY)
        if (changed == target).all() or after.penalty != before.penalty:
            continue  # nothing changed, or another penalty was chosen: nothing to compare
        compared += 1
        np.testing.assert_allclose(
            after.out_of_fold[webcam], before.out_of_fold[webcam], rtol=1e-12
        )
        assert (np.abs(after.out_of_fold - before.out_of_fold)[~webcam] > 1e-6).any()
    assert compared >= 2


def test_the_penalty_has_the_least_out_of_fold_loss() -> None:
    features, target, groups = drawn()
    probe = fit_probe(features, target, groups, asked=BINARY)
    assert dict(probe.search)[probe.penalty] == min(loss for _, loss in probe.search)


def wide(seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """More features than rows, many of them nearly alike, as those of a backbone are."""
    features, target, groups = drawn(seed)
    random = np.random.default_rng(seed)
    mixed = features @ random.normal(size=(12, 400)) + random.normal(size=(len(features), 400))
    return mixed.astype(np.float32), target, groups


def reference(asked: Target, penalty: float) -> LogisticRegression | Ridge:
    """The same optimum by another way: exact Newton steps, or a singular value decomposition."""
    if asked is REGRESSION:
        return Ridge(alpha=penalty, solver="svd")
    return LogisticRegression(C=penalty, solver="newton-cholesky", tol=1e-10, max_iter=1000)


@pytest.mark.parametrize("asked", [BINARY, REGRESSION])
def test_with_more_features_than_rows_heads_and_out_of_fold_values_are_those_of_all_features(
    asked: Target,
) -> None:
    features, target, groups = wide()
    probe = fit_probe(features, target, groups, asked=asked)
    x = features.astype(np.float64)
    pipeline = make_pipeline(StandardScaler(), reference(asked, probe.penalty))
    margin = "predict" if asked is REGRESSION else "decision_function"
    tolerance = 1e-9 if asked is REGRESSION else 2e-3
    expected = getattr(pipeline.fit(x, target), margin)(x)
    np.testing.assert_allclose(probe.head(features), expected, atol=tolerance)
    out_of_fold = np.empty(len(target))
    for train, held_out in _folds(target, groups, asked=asked, random_state=0):
        fitted = pipeline.fit(x[train], target[train])
        out_of_fold[held_out] = getattr(fitted, margin)(x[held_out])
    np.testing.assert_allclose(probe.out_of_fold, out_of_fold, atol=tolerance)
    assert probe.loss == pytest.approx(asked.loss(target, out_of_fold), abs=tolerance)


def test_rows_in_the_basis_of_their_span_are_the_same_rows() -> None:
    x = np.random.default_rng(0).normal(size=(20, 90))
    x[7] = x[3]
    x -= x.mean(axis=0)
    coordinates, basis = span_of_rows(x)
    # Centred rows and a copy: two less than there are rows.
    assert coordinates.shape == (20, 18)
    np.testing.assert_allclose(basis.T @ basis, np.eye(18), atol=1e-12)
    np.testing.assert_allclose(coordinates @ basis.T, x, atol=1e-12)


@pytest.mark.parametrize("asked", [BINARY, REGRESSION])
def test_judged_rows_count_alike_with_more_features_than_rows(asked: Target) -> None:
    features, target, groups = wide()
    others, share, _ = wide(seed=2)
    judged = JudgedRows(others, 0.1 + 0.8 * share, np.full(len(share), 0.3), groups + 10**6)
    probe = fit_probe(features, target, groups, asked=asked, judged=judged)
    scaler = StandardScaler().fit(features.astype(np.float64))
    x = scaler.transform(np.concatenate([features, others]).astype(np.float64))
    t = np.concatenate([target, judged.target])
    w = np.concatenate([np.ones(len(target)), judged.weight])
    model = reference(asked, probe.penalty)
    if asked is REGRESSION:
        expected = model.fit(x, t, sample_weight=w).predict(x)
    else:
        twice, both = np.concatenate([x, x]), np.repeat([1, 0], len(t))
        kept = (parts := np.concatenate([w * t, w * (1 - t)])) > 0
        model.fit(twice[kept], both[kept], sample_weight=parts[kept])
        expected = model.decision_function(x)
    tolerance = 1e-9 if asked is REGRESSION else 2e-3
    found = probe.head(np.concatenate([features, others]))
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_equal_input_gives_equal_heads() -> None:
    features, target, groups = drawn()
    one, two = (fit_probe(features, target, groups, asked=BINARY, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(one.head.weight, two.head.weight)
    np.testing.assert_array_equal(one.out_of_fold, two.out_of_fold)


def test_a_feature_without_variation_gets_no_weight() -> None:
    features, target, groups = drawn()
    features[:, 3] = 7.0
    probe = fit_probe(features, target, groups, asked=BINARY)
    assert probe.head.weight[3] == 0.0
    assert np.isfinite(probe.head.weight).all()


@pytest.mark.parametrize(
    ("asked", "groups", "target"),
    [
        # Without webcam 1 one row is left; without either webcam, copies of one picture.
        (REGRESSION, [1, 1, 1, 2], [0.0, 0.5, 1.0, 0.25]),
        (BINARY, [1, 1, 2, 2], [0.0, 1.0, 0.0, 1.0]),
    ],
)
def test_equal_rows_with_more_features_than_rows_get_no_weight(
    asked: Target, groups: list[int], target: list[float]
) -> None:
    of_webcam = np.random.default_rng(0).normal(size=(3, 50))
    probe = fit_probe(of_webcam[groups], np.array(target), np.array(groups), asked=asked)
    alone = [target[row] for row, group in enumerate(groups) if group == 2]
    expected = 0.0 if asked is BINARY else np.mean(alone)
    np.testing.assert_allclose(probe.out_of_fold[np.array(groups) == 1], expected, atol=1e-9)


def test_constant_features_are_refused() -> None:
    features, target, groups = drawn()
    with pytest.raises(WebcamMLError, match="same features"):
        fit_probe(np.ones_like(features), target, groups, asked=BINARY)


def test_features_that_are_not_finite_are_refused() -> None:
    features, target, groups = drawn()
    features[4, 2] = np.nan
    with pytest.raises(WebcamMLError, match="1 of 180 pictures have features that are not finite"):
        fit_probe(features, target, groups, asked=BINARY)


@pytest.mark.parametrize("asked", [BINARY, REGRESSION])
def test_one_webcam_only_is_refused(asked: Target) -> None:
    features, target, groups = drawn()
    with pytest.raises(WebcamMLError, match="only 1 of 1 training webcams"):
        fit_probe(features, target, np.zeros_like(groups), asked=asked)


def test_positives_of_one_webcam_only_are_refused() -> None:
    features, _, groups = drawn()
    target = (groups == groups[0]).astype(float)
    with pytest.raises(WebcamMLError, match="rarer class"):
        fit_probe(features, target, groups, asked=BINARY)


def test_few_webcams_get_fewer_folds() -> None:
    features, target, groups = drawn(webcams=3, per_webcam=20)
    assert fit_probe(features, target, groups, asked=BINARY).folds in (2, 3)
