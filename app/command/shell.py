"""The shell of every command: how it ends, in one line or a traceback, and with which exit status.

`main`, `experiments.run`, `app.harness` and `app.beam` hand their work to `run_command`. Nothing
here imports jax: `--help` and a mistyped flag don't wait for it.
"""

import argparse
import io
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from logging import getLogger
from typing import NoReturn

from absl import logging

from lengthwise.common.errors import UserError, one_line

INTERRUPTED = (
    "interrupted; the same command goes on from the last checkpoint, or from the start where there "
    "is none"
)

LESS_MEMORY = (
    "lower --config.phase.tokens_per_step (training) or --config.eval.tokens_per_call (scoring); "
    "--config.phase.microbatches and --config.model.remat=full trade time for memory"
)


def run_command(command: Callable[[], int]) -> NoReturn:
    """Exits with the status that `command` returns, 2 after a mistake of the user, 130 after
    Ctrl-C, 1 after any other error."""
    logging.set_verbosity(logging.WARNING)
    for stream in (sys.stdout, sys.stderr):  # texts and names of users may be any, terminals not
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    silence_second_tracebacks()
    try:
        status = command()
    except (Exception, KeyboardInterrupt) as error:
        message, status = exit_message_and_status(error)
        print(message, file=sys.stderr, flush=True)
    sys.stdout.flush()
    sys.stderr.flush()
    if status == 128 + signal.SIGTERM:
        os._exit(status)  # sys.exit would wait for a thread that compiles
    sys.exit(status)


def exit_message_and_status(error: BaseException) -> tuple[str, int]:
    """The message for the user and the exit status of a command that `error` ends.

    A mistake of theirs is one line without a traceback and status 2.
    """
    if isinstance(error, UserError | OSError):
        return f"error: {one_line(error)}", 2
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, 128 + signal.SIGINT
    if is_out_of_memory(error):
        return f"error: out of memory ({one_line(error)[:200]}); {LESS_MEMORY}", 2
    return "".join(traceback.format_exception(error)).rstrip(), 1


def is_out_of_memory(error: BaseException) -> bool:
    """Whether host or device had too little memory. By name: this module doesn't wait for jax."""
    of_jax = type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError")
    return isinstance(error, MemoryError) or (of_jax and "RESOURCE_EXHAUSTED" in str(error))


def silence_second_tracebacks() -> None:
    """Keeps libraries from printing the tracebacks of errors that they also raise to us.

    When a save fails, Orbax logs its exception from each thread that meets it, asyncio those that
    nobody awaited, and TensorStore's threads report to an event loop that Orbax has closed.
    """
    warnings.filterwarnings("ignore", r"coroutine .* was never awaited", RuntimeWarning)
    for name in ("absl", "asyncio"):
        getLogger(name).addFilter(lambda record: not record.exc_info)
    default = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            default(unraisable)

    sys.unraisablehook = hook


class ArgumentParser(argparse.ArgumentParser):
    """argparse with the errors of `run_command`: one line that names where help is."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


def at_least(bound: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number from `bound` on."""

    def number(text: str) -> int:
        value = int(text)
        if value < bound:
            raise argparse.ArgumentTypeError(f"{value} is less than {bound}")
        return value

    number.__name__ = "int"  # as argparse calls it where it is none
    return number


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The module's docstring as it stands, and the default of each argument."""
