"""What the application really serves: the scores that it stored, beside those of the file that they name.

Start at `audit_served_scores`. It only reads.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
