"""How hard a demo is: how well mean colour predicts its labels, and the best that raters allow.

A model should lie between the two. The functions draw small pictures of their own, so that this
can be measured before a demo is made.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from webcam_ml.dataset import SplitConfig
from webcam_ml.demo._options import DemoOptions
from webcam_ml.demo._plan import Snapshot, plan_snapshots
from webcam_ml.demo._studio import draw_all

POSITIVE_FROM = 4.0  # stars
SMALL = 96  # pixels of width are plenty for a mean
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """Areas under the ROC curve for telling ratings of at least 4 from the others.

    Attributes:
        channel_means: Of a logistic regression on the three channel means, out-of-fold with
            folds by webcam.
        channel_means_on_test: The same, fitted on the default train split, on the test split.
        ceiling: Of the latent beauty itself: what raters' disagreement allows.
        ceiling_on_test: The same on the default test split.
        positive_share: Of the rated snapshots.
    """

    channel_means: float
    channel_means_on_test: float
    ceiling: float
    ceiling_on_test: float
    positive_share: float


def difficulty(options: DemoOptions | None = None) -> Difficulty:
    """Measure a demo without making it.

    Args:
        options: Of the demo; its `image_width` is not used.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    options = replace(options or DemoOptions(), image_width=SMALL)
    rated = [
        snapshot
        for snapshot in plan_snapshots(options)
        if snapshot.is_rated and not snapshot.dead and not snapshot.truncated
    ]
    means = channel_means(options.seed, rated)
    beauty = np.array([snapshot.beauty for snapshot in rated])
    positive = np.array([(snapshot.cached_rating or 0) >= POSITIVE_FROM for snapshot in rated])
    webcams = np.array([snapshot.webcam.webcam_id for snapshot in rated])
    splits = np.array([SplitConfig().split_of(int(webcam)) for webcam in webcams])
    train, test = splits == "train", splits == "test"
    baseline = make_pipeline(StandardScaler(), LogisticRegression())
    folds = GroupKFold(FOLDS, shuffle=True, random_state=0)
    out_of_fold = cross_val_predict(
        baseline, means, positive, groups=webcams, cv=folds, method="decision_function"
    )
    on_test = baseline.fit(means[train], positive[train]).decision_function(means[test])
    return Difficulty(
        channel_means=float(roc_auc_score(positive, out_of_fold)),
        channel_means_on_test=float(roc_auc_score(positive[test], on_test)),
        ceiling=float(roc_auc_score(positive, beauty)),
        ceiling_on_test=float(roc_auc_score(positive[test], beauty[test])),
        positive_share=float(positive.mean()),
    )


def channel_means(seed: int, snapshots: Sequence[Snapshot]) -> NDArray[np.float64]:
    """Mean red, green and blue of each snapshot's picture, (snapshots, 3), 0 to 255."""
    found: dict[int, NDArray[np.float64]] = {}
    with closing(draw_all(seed, snapshots)) as drawn:
        for snapshot, data in drawn:
            with Image.open(BytesIO(data)) as picture:
                found[snapshot.id] = np.asarray(picture, np.float64).mean(axis=(0, 1))
    return np.stack([found[snapshot.id] for snapshot in snapshots])
