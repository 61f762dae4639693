"""What a person can mend is shown as a sentence, not as a stack trace."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from dagster import Failure

from webcam_ml.errors import WebcamMLError

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def as_dagster_failure() -> Iterator[None]:
    """Turn an error that is meant for the user into a Dagster failure with that text."""
    try:
        yield
    except WebcamMLError as error:
        raise Failure(description=str(error), allow_retries=False) from None


def failing_with_a_sentence(function: Callable[P, R]) -> Callable[P, R]:
    """Let an asset or check fail with the sentence of a `WebcamMLError` alone."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with as_dagster_failure():
            return function(*args, **kwargs)

    return wrapper
