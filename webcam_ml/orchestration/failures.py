"""What a person can mend is shown as a sentence, not as a stack trace."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from dagster import Failure

from webcam_ml.errors import WebcamMLError
from webcam_ml.orchestration.last_words import say_last
from webcam_ml.progress import never_silent

P = ParamSpec("P")
R = TypeVar("R")


def failure(sentence: str) -> Failure:
    """Make what ends a step with a sentence; a command ends with it, too, below Dagster's traces."""
    say_last(sentence)
    return Failure(description=sentence, allow_retries=False)


@contextmanager
def as_dagster_failure() -> Iterator[None]:
    """Turn an error that is meant for the user into a Dagster failure with that text."""
    try:
        yield
    except WebcamMLError as error:
        raise failure(str(error)) from None


def failing_with_a_sentence(function: Callable[P, R]) -> Callable[P, R]:
    """Let an asset or check fail with the sentence of a `WebcamMLError` alone, and never work in silence."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with as_dagster_failure(), never_silent():
            return function(*args, **kwargs)

    return wrapper
