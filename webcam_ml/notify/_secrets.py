"""What a message may not say: passwords, tokens, and addresses that are as good as a password."""

import os
import re
from urllib.parse import unquote, urlsplit

# Each holds a password, or is one.
SECRET_VARIABLES = ("WEBCAM_ML_NOTIFY_URL", "DATABASE_URL", "DAGSTER_POSTGRES_URL")
# What obstore and libpq take from the environment.
_SECRET_NAME = re.compile(r"(?:AWS|AZURE|GOOGLE)_\w*(?:KEY|TOKEN|SECRET)|PGPASSWORD")
# Shorter ones are found in ordinary words.
SHORTEST_PASSWORD = 4
HIDDEN = "(hidden)"

# In addresses of pictures the query holds the token; user and password stand before the @. A password that
# nobody quoted may hold a slash or an @: after a colon the last @ counts, at the price of some hosts.
_ADDRESS = re.compile(
    r"(\b[a-z][a-z0-9+.-]*://)(?:[^\s/?#@:]*:[^\s\"']*@|[^\s/?#]*@)?([^\s?#\"']*)(?:[?#][^\s\"']*)?",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(
    r"\b((?:\w*password|passwd|pwd|\w*token|\w*secret|\w*(?:api|access|account|storage|sas)_?key|sig"
    r"|authorization)\b[\"']?\s*[=:]\s*)"
    r"(?:\"[^\"]*\"|'[^']*'|(?:(?:bearer|basic|digest|sharedkey|token)\s+)?[^\s,;]+)",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """Take out of a text what nobody may read in it.

    That is the values of the variables that hold addresses with passwords, these passwords by
    themselves, the keys of an object store, user, password and query of any address, and what is
    assigned to a password, key or token.
    """
    for name in SECRET_VARIABLES:
        value = os.environ.get(name)
        if not value:
            continue
        text = text.replace(value, f"({name})")
        for password in _passwords_in(value):
            text = text.replace(password, HIDDEN)
    for name, value in os.environ.items():
        if _SECRET_NAME.fullmatch(name) and len(value) >= SHORTEST_PASSWORD:
            text = text.replace(value, f"({name})")
    text = _ADDRESS.sub(r"\1\2", text)
    return _ASSIGNED.sub(rf"\1{HIDDEN}", text)


def _passwords_in(address: str) -> set[str]:
    try:
        password = urlsplit(address).password
    except ValueError:
        return set()
    written = {password or "", unquote(password or "")}
    return {one for one in written if len(one) >= SHORTEST_PASSWORD}
