"""What changed between two models: labels, judgements, metrics, settings; a page for whoever asks why.

`with_what_changed` makes the page of a comparison, `compare_models` that of any two stored models. Nothing
here decides anything: what goes live is judged in `judging`, and what the page means stands in
``docs/curating.md``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
