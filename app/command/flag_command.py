"""Commands with absl flags of their own, such as benchmarks: bounds, and errors on one line."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from absl import flags

from lengthwise.app.command import shell
from lengthwise.app.command.help import HELP
from lengthwise.common.errors import UserError, one_line


def run(
    main: Callable[[list[str]], int | None], positional: str = "", *, required: bool = True
) -> NoReturn:
    """Parses the flags of sys.argv and runs `main`; exits as every command does.

    Args:
      main: takes the arguments that are no flags; returns the exit status, None for 0.
      positional: what these are, for errors; empty: there are none.
      required: whether there must be any.
    """
    shell.run_command(lambda: main(_arguments(sys.argv, positional, required)) or 0)


def _arguments(argv: list[str], positional: str, required: bool) -> list[str]:
    """Parses the flags; returns what is none. SystemExit after --help."""
    if HELP & set(argv[1:]):
        print((sys.modules["__main__"].__doc__ or "").strip())
        print(flags.FLAGS.main_module_help())
        sys.exit(0)
    try:
        _, *arguments = flags.FLAGS(argv)
    except Exception as error:  # config flags raise whatever a wrong value makes of them
        raise UserError(f"{one_line(error)}; --help lists the flags") from error
    if arguments and not positional:
        raise UserError(f"unexpected argument {arguments[0]!r}; --help lists the flags")
    if positional and required and not arguments:
        raise UserError(f"{positional} is missing; --help says more")
    return arguments


class _Numbers(flags.ArgumentParser):
    """Whole numbers with commas between, each at least `least`."""

    syntactic_help = "a comma separated list of whole numbers"

    def __init__(self, least: int):
        self._least = least

    def parse(self, argument: str | Sequence[int]) -> list[int]:
        if not isinstance(argument, str):
            return list(argument)
        try:
            numbers = [int(each) for each in argument.split(",")]
        except ValueError:
            raise ValueError(f"{argument!r} are no whole numbers, such as 256,1024") from None
        if min(numbers) < self._least:
            raise ValueError(f"{min(numbers)} is less than {self._least}")
        return numbers


class _Names(flags.ArgumentParser):
    """Names with commas between, each one of the choices."""

    syntactic_help = "a comma separated list of names"

    def __init__(self, choices: Sequence[str]):
        self._choices = tuple(choices)

    def parse(self, argument: str | Sequence[str]) -> list[str]:
        names = argument.split(",") if isinstance(argument, str) else list(argument)
        for name in names:
            if name not in self._choices:
                raise ValueError(f"{name!r} is unknown; choose of {', '.join(self._choices)}")
        return names


def define_numbers(
    name: str, default: Sequence[int], what: str, *, lower_bound: int
) -> "flags.FlagHolder[list[int]]":
    """A flag of one or more whole numbers, `lower_bound` or more each."""
    return _define(_Numbers(lower_bound), name, default, what)


def define_names(
    name: str, choices: Sequence[str], what: str, default: Sequence[str] | None = None
) -> "flags.FlagHolder[list[str]]":
    """A flag of one or more of the choices; default: None: all of them."""
    return _define(_Names(choices), name, list(choices if default is None else default), what)


def _define(parser: Any, name: str, default: Sequence[Any], what: str) -> Any:
    serializer: Any = flags.CsvListSerializer(",")
    return flags.DEFINE(parser, name, list(default), what, serializer=serializer)
