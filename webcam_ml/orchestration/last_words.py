"""What a person who typed a command reads last: the verdict, not the log around it."""

import atexit
import sys
from collections.abc import Callable
from types import TracebackType

# Commands of dagster that run a graph in the process that the person waits for.
ONE_SHOT = {"materialize", "execute"}

_to_say: list[str] = []


def say_last(text: str) -> None:
    """Print a text when the process ends, if it is one that somebody started to run the graph once.

    Dagster still logs after the last step, so the text has to wait for the end of the process. A
    process that outlives the run, like a server, prints nothing: nobody waits for it there.
    """
    if not ONE_SHOT & set(sys.argv):
        return
    if not _to_say:
        atexit.register(_say)
    _to_say.append(text)


def _say() -> None:
    # In the order of the steps, so that the verdict, which is the last of them, is read last.
    for text in _to_say:
        print(f"\n{text}", file=sys.stderr)


def end_with_a_sentence(sentence_of: Callable[[BaseException], str | None]) -> None:
    """Let a process that runs the graph once end with a sentence, if there is one, not a trace.

    Args:
        sentence_of: Gives what to say of the error that ends the process; None to show its trace.
    """
    if not ONE_SHOT & set(sys.argv):
        return
    show_trace = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sentence = sentence_of(error)
        if sentence is None:
            show_trace(kind, error, trace)
        else:
            print(sentence, file=sys.stderr)

    sys.excepthook = show
