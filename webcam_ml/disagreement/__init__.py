"""Where people and model differ: labels worth a second look.

`report_disagreement` collects the rows to compare from stored artifacts; the rest are pure functions
over compared rows. How the ranking works and what it found stands in ``docs/disagreement.md``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
