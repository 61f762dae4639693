"""`webcam-ml evaluate`: where a model that was made elsewhere stands, by the scores that it gave.

What comes out is a report. It has no model file, is kept outside the store, and has ``foreign:``
where a checkpoint's digest would be, so nothing that promotes can take it for a candidate.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
