"""From a candidate to the live model: evidence, gates, promotion, ledger, roll-back.

Start at `compare_with_champion`, which makes the evidence, and `promote`, which judges it again for
exactly the bytes that it makes live. `GATES` is the one list of conditions. What each gate asks and
why, and how often it errs, stands in ``docs/promotion.md``. Nothing here knows Dagster.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
