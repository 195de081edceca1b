"""The command line of main.py: flags, the config file, and errors that name the field meant."""

import difflib
import functools
import re
import sys
import traceback
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from lengthwise.app import shell
from lengthwise.common.errors import UserError
from lengthwise.configs import base

# Where the rooms are: the root of a clone, or the folder of the installed package.
PACKAGE = Path(base.__file__).parents[1]

_CONFIG = config_flags.DEFINE_config_file("config", None, "A file of configs/.", lock_config=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "Where everything of the run is kept.")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "This is one of several processes of the run, one a host, all started with the same command. "
    "Cloud TPU, GKE, Slurm and Open MPI tell them apart; elsewhere the three flags below do.",
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of the first process.")
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many there are.", 1)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which one this is, from 0.", 0)
_MODE = flags.DEFINE_enum(
    "mode", "train", ["train", "eval", "generate", "prepare", "plan"], "What to do."
)


def main(argv: list[str]) -> int:
    """Runs the mode; returns the exit status."""
    if len(argv) > 1:
        raise UserError(f"unexpected argument {argv[1]!r}; fields are set by --config.field=value")
    config, workdir = _CONFIG.value, _WORKDIR.value
    if _MODE.value == "plan" and not workdir:
        workdir = "."  # where plan.json goes
    if config is None or not workdir:
        missing = "--config" if config is None else "--workdir"
        raise UserError(f"{missing} is missing; see python main.py --help")
    # After the flags: --help and a mistyped field should not wait for jax.
    if _DISTRIBUTED.value:
        from lengthwise.train.machine import processes

        processes.join(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
        processes.quiet_unless_first()
        return processes.together(lambda: _run(config, workdir), shell.exit_message_and_status)
    for flag in (_COORDINATOR, _NUM_PROCESSES, _PROCESS_ID):
        if flag.value is not None:
            raise UserError(f"--{flag.name} is for several processes; add --distributed")
    return _run(config, workdir)


def _run(config: ConfigDict, workdir: str) -> int:
    from lengthwise.app import modes

    return modes.run(_MODE.value, config, workdir)


def nearest_fields(field: str, fields: list[str]) -> list[str]:
    """Fields of the same name in other sections, up to three; where there is none, the field that
    is written most alike."""
    _, _, name = field.rpartition(".")
    same = [each for each in fields if each.rpartition(".")[2] == name]
    return difflib.get_close_matches(field, same or fields, n=3 if same else 1, cutoff=0.0)


def parse(argv: list[str], *, known_only: bool = False) -> list[str]:
    """Parses the flags and reads the config file; returns what is left of `argv`.

    known_only: leave flags that are not ours for others.

    Raises:
      UserError: an unknown flag or field, a value of the wrong type, a config file that is not
        there or raises.
    """
    argv = with_own_configs(argv)
    default = base.get_config()
    fields = field_names(default)
    given: set[str] = set()
    for argument in argv[1:]:
        name = argument.lstrip("-").partition("=")[0]
        field = name.removeprefix("no").removeprefix("config.")
        if name.startswith(("config.", "noconfig.")) and field not in fields:
            nearest = ", ".join(f"--config.{each}" for each in nearest_fields(field, fields))
            raise UserError(f"unknown config field --config.{field}; nearest: {nearest}")
        if name.startswith("config."):
            # Of all other fields the last value counts; values of a tuple would be strung together.
            if field in given and isinstance(value_of(default, field), tuple):
                raise UserError(f"--config.{field} is given twice; name all of its values once")
            given.add(field)
    try:
        remaining: list[str] = flags.FLAGS(argv, known_only=known_only)
        if _CONFIG.value is not None:
            _CONFIG.value.to_dict()  # that the file is missing shows only now
        return remaining
    except OSError as error:  # the cause stands on the last line, behind what absl says of itself
        cause = re.sub(r".*(failure to load: |\[Errno \d+\] )", "", str(error).splitlines()[-1])
        raise UserError(f"--config can't be read: {cause.strip()}") from error
    except flags.Error as error:
        if "Error whilst parsing config file" in str(error):
            raise config_file_error(error) from error
        raise UserError(str(error)) from error
    except Exception as error:
        raise config_file_error(error) from error


def with_own_configs(argv: list[str]) -> list[str]:
    """`argv` where --config=configs/NAME.py names a file of this package, if there is none here."""
    found = []
    for i, argument in enumerate(argv):
        flag, equals, value = argument.partition("=")
        if equals and flag in ("--config", "-config"):
            found.append(f"{flag}={own_config(value)}")
        elif i and argv[i - 1] in ("--config", "-config"):
            found.append(own_config(argument))
        else:
            found.append(argument)
    return found


def own_config(path: str) -> str:
    """`path`, PATH or PATH:ARGUMENT, in the package where it isn't in the current folder."""
    file = path.partition(":")[0]
    return path if Path(file).exists() or not (PACKAGE / file).exists() else str(PACKAGE / path)


def config_file_error(error: BaseException) -> UserError:
    """What the user's config file raised, and in which line of it."""
    where, cause = "--config", error
    link: BaseException | None = error
    while link is not None:  # libraries raise anew what the file raised
        frames = [frame for frame in traceback.extract_tb(link.__traceback__) if _is_users(frame)]
        if isinstance(link, SyntaxError):
            where, cause = f"{link.filename}:{link.lineno}", link
        elif frames:
            where, cause = f"{frames[-1].filename}:{frames[-1].lineno}", link
        link = link.__context__
    message = str(cause.args[0]) if cause.args else ""
    if "Did you mean" in message:  # ml_collections lists all fields before
        message = message[message.index("Did you mean") :].rstrip("'")
    return UserError(f"{where}: {type(cause).__name__}: {message}")


def _is_users(frame: traceback.FrameSummary) -> bool:
    return not (frame.filename.startswith((__file__, "<")) or "site-packages" in frame.filename)


def field_names(config: ConfigDict, prefix: str = "") -> list[str]:
    """Dotted names of all fields, sections included."""
    names = []
    for name, value in config.items():
        names.append(prefix + name)
        if isinstance(value, ConfigDict):
            names += field_names(value, f"{prefix}{name}.")
    return names


def value_of(config: ConfigDict, field: str) -> object:
    """Of a dotted name."""
    return functools.reduce(lambda section, name: section[name], field.split("."), config)


def entry() -> None:
    """Parses the flags of sys.argv and runs; exits as every command does."""
    app.define_help_flags()
    shell.run_command(lambda: main(parse(sys.argv)))
