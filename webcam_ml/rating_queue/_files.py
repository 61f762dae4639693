"""Names of the files of a rating queue, for whoever needs no more than the names."""

RATING_QUEUE_FILE = "rating_queue.csv"
JUDGE_CONFLICTS_FILE = "judge_conflicts.csv"
META_FILE = "rating_queue.json"
