"""Points at which long work may be given up, such as a device batch of an evaluation.

Who does the work names the points, who waits for it says whether to go on.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

_check: ContextVar[Callable[[], None] | None] = ContextVar("interruption", default=None)


class Interruption(BaseException):
    """Work was given up. No `Exception`, so that nothing on the way takes it for a fault."""


def interruption_point() -> None:
    """Raises Interruption where the work that calls this is to be given up."""
    check = _check.get()
    if check is not None:
        check()


@contextlib.contextmanager
def interruptible(check: Callable[[], None]) -> Iterator[None]:
    """Calls `check`, which may raise Interruption, at each interruption point inside."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)
