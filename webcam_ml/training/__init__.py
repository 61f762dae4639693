"""From features to a model: the probe, its calibration, fine-tuning, and the checkpoint.

`train` does it all.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
