from ._outbox import deliver, forget, tell
from ._secrets import without_secrets
from ._webhook import NOTIFY_VARIABLE, is_on

__all__ = ["NOTIFY_VARIABLE", "deliver", "forget", "is_on", "tell", "without_secrets"]
