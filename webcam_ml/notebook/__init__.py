"""What the graph has stored, for analysis: tables as pandas, documents, pictures.

`webcam_ml.open_store()` is the way in. Nothing is written here; no other package imports this one.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
