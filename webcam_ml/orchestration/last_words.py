"""What a person who typed a command reads last: the verdict, not the log around it."""

import atexit
import sys

# Commands of dagster that run a graph in the process that the person waits for.
ONE_SHOT = {"materialize", "execute"}


def say_last(text: str) -> None:
    """Print a text when the process ends, if it is one that somebody started to run the graph once.

    Dagster logs on after the last step. In a process that outlives the run nobody waits for it.
    """
    if ONE_SHOT & set(sys.argv):
        atexit.register(print, f"\n{text}", file=sys.stderr)
