"""Groups, owners, tags and ages of assets: what the lineage page sorts, searches and colours by."""

from datetime import timedelta

from dagster import FreshnessPolicy

LABELS, PICTURES, MODEL, REVIEW, RELEASE = "labels", "pictures", "model", "review", "release"
MONITORING = "monitoring"
OWNERS = ["team:webcam-ml"]

# What an asset touches outside the store, and who may see the test split: `tag:"reads"="test-split"`
# on the lineage page shows at a glance that nothing which trains is among them.
READS_DATABASE = {"reads": "label-database"}
READS_PICTURE_HOSTS = {"reads": "picture-hosts"}
READS_TEST_SPLIT = {"reads": "test-split"}
CHANGES_WHAT_IS_LIVE = {"changes": "live-model"}

# When the page calls an asset stale. A retrain waits until labels have grown, so that a month without
# one is a quiet month, and two are a sensor that is off, or raters who have stopped. What is live is
# judged anew by each retrain, also where the answer is no.
STALE_LABELS = FreshnessPolicy.time_window(
    warn_window=timedelta(days=30), fail_window=timedelta(days=60)
)
STALE_MODEL = FreshnessPolicy.time_window(
    warn_window=timedelta(days=60), fail_window=timedelta(days=120)
)
