"""What to rate next: a queue of frames that nobody has rated, for whoever has an hour to rate.

`build_rating_queue` collects the frames from the label database and what is stored; the rule by which
they are chosen is a pure function of them, in `_rule`. What it is worth stands in ``docs/curating.md``.
The page on which a queue is rated is not here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
