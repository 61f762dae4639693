from ._build import QueueResult, build_rating_queue
from ._files import JUDGE_CONFLICTS_FILE, RATING_QUEUE_FILE
from ._queue import QueueMeta, RatingQueue, Share
from ._rule import (
    RANDOM,
    UNCERTAIN,
    PickedBy,
    Shares,
    choose,
    newest_in_turn,
    shares_of,
    uncertainty,
    with_lots,
)
from ._settings import RatingQueueSettings

__all__ = [
    "JUDGE_CONFLICTS_FILE",
    "RANDOM",
    "RATING_QUEUE_FILE",
    "UNCERTAIN",
    "PickedBy",
    "QueueMeta",
    "QueueResult",
    "RatingQueue",
    "RatingQueueSettings",
    "Share",
    "Shares",
    "build_rating_queue",
    "choose",
    "newest_in_turn",
    "shares_of",
    "uncertainty",
    "with_lots",
]
