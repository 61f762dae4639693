from ._contents import DOCUMENTS, TABLES
from ._store import Store

__all__ = ["DOCUMENTS", "TABLES", "Store"]
