"""From a candidate to evidence, and from evidence to a verdict.

`compare_with_champion` makes the evidence, `judge` asks every gate. `GATES` is the one list of
conditions; what each asks and why, and how often it errs, stands in ``docs/promotion.md``. What
happens after a verdict is in `live`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
