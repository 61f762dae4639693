"""The one exception type whose message is for the user, who can correct the cause.

A message names what was found, which setting matters and what to try. Packages raise it, or a
subclass where a caller has to tell cases apart; the command line and the Dagster page print the
message without a stack trace. Programming errors keep their own types and their traces.
"""


class WebcamMLError(Exception):
    """Something that the user can mend: bad input, a wrong setting, a missing or damaged file."""
