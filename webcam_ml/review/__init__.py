"""The curator's page: `webcam-ml review` shows one picture after the other and keeps what is pressed.

A vote goes from the page into a journal on disk, and from there into the label database, in a transaction
of its own; it counts on the page when the database has it. `webcam-ml import-votes` brings votes from a
file. The rows of votes are the only thing that is ever written; the page itself is in ``page/``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
