"""What is live: promotion, ledger, roll-back, verification.

Start at `promote`, which judges the evidence again for exactly the bytes that it makes live.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
