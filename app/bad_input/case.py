"""One case of bad input, and its outcome under the bound of every command."""

import contextlib
import logging
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lengthwise.app.command.shell import exit_message_and_status
from lengthwise.common.registry import Registry


class SilentLossError(Exception):
    """A command went on with other data than were put in, and said nothing."""


class HangError(BaseException):
    """A command did not end in time. No `Exception`, so that nothing on the way takes it for one
    of its own."""


@dataclass(frozen=True)
class Case:
    """What is wrong with an input, and what a command does with it.

    run: raises what would end the command; SilentLossError where it comes to its end with other
      data than there were.
    """

    what: str  # in words, such as "model.layers='x'"
    run: Callable[[], object]


Kind = Callable[[int, Path], Case]  # (seed, an empty folder for the files of the case)
KINDS: Registry[Kind] = Registry("kind of bad input", "lengthwise.app.bad_input.kinds")


class Ending(StrEnum):
    """What a command made of a case; the last three break the bound."""

    WORKS = "works"
    REFUSED = "one line, status 2"
    TRACEBACK = "traceback"
    HANG = "hang"
    SILENT_LOSS = "silent loss"


BROKEN = (Ending.TRACEBACK, Ending.HANG, Ending.SILENT_LOSS)


@dataclass(frozen=True)
class Outcome:
    """Outcome of a case."""

    kind: str
    seed: int
    what: str
    ending: Ending
    message: str  # the line, or the traceback; empty: it works

    def __str__(self) -> str:
        return f"{self.kind}, seed {self.seed}: {self.what}: {self.ending}\n{self.message}"


def outcome(kind: str, seed: int, folder: Path, seconds: float = 60.0) -> Outcome:
    """Makes the case of a seed in `folder` and runs it as a command would.

    Args:
      seconds: after which it hangs. Only in the main thread, which alone has signals.
    """
    case = KINDS[kind](seed, folder)
    ending, message = Ending.WORKS, ""
    try:
        with _limited(seconds), _silent():
            case.run()
    except SilentLossError as error:
        ending, message = Ending.SILENT_LOSS, str(error)
    except HangError as error:
        ending, message = Ending.HANG, "".join(traceback.format_exception(error))
    except (Exception, SystemExit) as error:
        message, status = exit_message_and_status(error)
        refused = status == 2 and "\n" not in message
        ending = Ending.REFUSED if refused else Ending.TRACEBACK
    return Outcome(kind, seed, case.what, ending, message)


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise HangError(f"no end after {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Notes and warnings of thousands of cases are read by nobody."""
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
