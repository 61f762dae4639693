"""What every other room agrees on. The bottom of the house: it imports nothing of the project but errors.

`Target` is what a model is asked: all that differs between the target types is said there.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
