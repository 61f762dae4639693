import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from webcam_ml.demo import DemoOptions, difficulty
from webcam_ml.demo._plan import plan_snapshots


def test_the_usual_demo_is_neither_one_colour_nor_beyond_what_people_agree_on():
    found = difficulty()
    assert found.channel_means < 0.8
    assert found.channel_means_on_test < 0.8
    assert 0.93 <= found.ceiling <= 0.98
    assert found.ceiling_on_test > found.channel_means_on_test + 0.1
    assert found.positive_share == pytest.approx(0.2, abs=0.03)


def test_more_raters_agree_better_with_the_truth():
    def ceiling(raters: float) -> float:
        rated = [
            s
            for s in plan_snapshots(DemoOptions(snapshots=2000, raters_per_snapshot=raters))
            if s.is_rated
        ]
        positive = np.array([s.cached_rating >= 4 for s in rated])
        return roc_auc_score(positive, [s.beauty for s in rated])

    assert ceiling(1) < ceiling(8)
