from ._outbox import deliver, news, tell, write_down
from ._secrets import without_secrets
from ._webhook import NOTIFY_VARIABLE, is_on

__all__ = [
    "NOTIFY_VARIABLE",
    "deliver",
    "is_on",
    "news",
    "tell",
    "without_secrets",
    "write_down",
]
