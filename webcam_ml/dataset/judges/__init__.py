"""Judges that are not people: what their scores mean in stars, and whether they may speak.

`calibrate_judge` learns that from the snapshots that people judged too, and `hear_judges` makes
training rows of what only judges know. What was said is read in `labels`. Figures on real labels stand in
``docs/labels.md``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
