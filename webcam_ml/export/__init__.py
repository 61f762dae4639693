"""From a checkpoint to one ONNX file with preprocessing inside, and the proof that it agrees."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
