"""Text from outside, made safe to show: in a message, a log or a terminal it has no other effect.

A title or an address from the database may hold line ends that forge a line of the log, escape
sequences that a terminal obeys, or marks that turn the order of the letters around.
"""

import re

# Control characters, line and paragraph separators, marks of writing direction, lone surrogates.
_UNSHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Write each control character as the escape that Python has for it: a line end as backslash n."""
    return _UNSHOWN.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
