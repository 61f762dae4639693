"""The head in the span of its rows against the same problem on all features, which outnumber the rows."""

import time
from collections.abc import Iterator

import numpy as np

from benchmarks.measure import Row, RowFailed, alternate
from benchmarks.setting import Setting
from webcam_ml.contracts import target_of
from webcam_ml.training import _probe
from webcam_ml.training._probe import LOGISTIC_C

TARGET = 2.0
# As of stages of several layers, whose numbers are alike: the variance of a direction falls as 1/k.
ROWS, FEATURES, WEBCAMS, SIGNAL = 630, 2192, 170, 60
ASKED = target_of("binary")


def measure_head(setting: Setting) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    rows, features = (200, 400) if setting.quick else (ROWS, FEATURES)
    directions = rng.normal(size=(features, features))
    spread = rng.normal(size=(rows, features)) / np.sqrt(np.arange(1, features + 1))
    x = (spread @ directions).astype(np.float32)
    beauty = spread[:, :SIGNAL].sum(axis=1)
    target = (beauty + rng.normal(size=rows) * beauty.std() / 2 > beauty.std() / 2).astype(float)
    groups = rng.integers(0, WEBCAMS, rows)

    def ours() -> float:
        began = time.process_time()
        _probe.fit_probe(x, target, groups, asked=ASKED)
        return time.process_time() - began

    def on_all_features() -> float:
        began = time.process_time()
        parts = [train for train, _ in _probe._folds(target, groups, asked=ASKED, random_state=0)]
        for part in parts:
            standardised = x[part].astype(np.float64)
            standardised -= standardised.mean(axis=0)
            standardised /= standardised.std(axis=0)
            problem = _probe._Problem(standardised, target[part], None, None, warm_start=False)
            if len(list(_probe._logistic(problem, LOGISTIC_C))) != len(LOGISTIC_C):
                raise RowFailed("not every penalty was tried")
        return time.process_time() - began

    pairs = alternate(ours, on_all_features, repeats=setting.repeats)
    yield Row.of_ratios(
        [theirs / mine for mine, theirs in pairs],
        name="head_in_span_of_rows",
        what=f"fit_probe, {rows} rows of {features:,} features, CPU time",
        against="the folds of the same search on all features, each penalty from zero, CPU time",
        target=TARGET,
        bound="at least",
        details={
            "ours_seconds": [mine for mine, _ in pairs],
            "all_features_seconds": [theirs for _, theirs in pairs],
        },
    )
