"""Somebody is told: one message for each thing that happened, to the webhook that is set, or to nobody.

What is said belongs where it happens: `live` knows what went live, `orchestration` which run failed.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
