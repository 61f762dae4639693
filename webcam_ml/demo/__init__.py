"""Synthetic webcams: a label database and pictures, made on the spot.

`make_demo_data` does it all. The plan of snapshots (who photographs when, in what weather, and what
people say to it) is separate from the drawing, so that labels can be studied without pictures.
`difficulty` says between which two scores a model should lie.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
