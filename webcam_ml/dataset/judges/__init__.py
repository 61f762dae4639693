"""Judges that are not people: what their scores mean in stars, and whether they may speak.

`calibrate_judge` learns that from the snapshots that people judged too. What was said is read in
`labels`; which rows of a manifest come of it is decided in `dataset`. Figures on real labels stand in
``docs/labels.md``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
