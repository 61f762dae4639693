"""From verified images to a trained checkpoint: backbones, cached features, probe, calibration.

Importing this package loads no torch; it is imported where a network is built or a checkpoint read.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
