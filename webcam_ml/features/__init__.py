"""From pictures to features: backbones, their exported graphs, and features kept by picture.

`BackboneSpec` names a backbone, `prepare_backbone` exports it once with preprocessing inside, and
`extract_features` computes what is not in the cache yet. What is fitted on features belongs in
`training`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
