"""Cameras that are in the database twice, found by the pictures that both ids show.

The same picture on both sides of a split leaks the answer: the model is judged on what it was
trained on. `compare_images` finds such pairs among the pictures of a manifest, for the check that
warns of them; `find_duplicate_webcams` says which webcams are one camera, for the manifest that
keeps them together. Both use `_matches`; ``benchmarks/duplicates.py`` measures how well that works.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
