"""What all other packages agree on. It imports nothing of the project but errors.

`Target` is what a model is asked: all that differs between the target types is defined there. A
`Table` is written and read by its declared columns; all stored tables are declared in
`_stored_tables`. A `Document` is a stored JSON file with its schema version.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
