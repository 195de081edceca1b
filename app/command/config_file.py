"""The config of a command line: a config file with the fields that flags override.

--config=PATH[:ARGUMENT] --config.model.layers=6 --noconfig.model.tie_embeddings ...
"""

import difflib
import functools
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from lengthwise.common.errors import UserError, one_line
from lengthwise.common.paths import user_path
from lengthwise.common.synonyms import field_synonyms
from lengthwise.configs import base
from lengthwise.configs.resolve import flags_of
from lengthwise.configs.saved_config import read_config_json

# Where the rooms are: the root of a clone, or the folder of the installed package.
PACKAGE = Path(base.__file__).parents[1]
_FIELD = ("--config.", "-config.", "--noconfig.", "-noconfig.")
_PHASE = re.compile(r"phases\.(\d+)\.(.+)")


def split_flags(argv: Sequence[str]) -> tuple[str | None, list[str], list[str]]:
    """(what follows --config, the flags of fields, the other arguments) of a command line.

    A value that stands behind its flag, not after "=", is put there.
    """
    path, fields, others, is_open = None, [], [], False
    arguments = iter(argv)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name in ("--config", "-config"):
            path = value if equals else next(arguments, "")
        elif name.startswith(_FIELD):
            fields.append(argument)
        elif is_open and not argument.startswith("-"):
            fields[-1] += f"={argument}"
        else:
            others.append(argument)
        is_open = name.startswith(_FIELD[:2]) and not equals
    return path, fields, others


def read_config_file(path: str) -> ConfigDict:
    """The config that get_config() of a file returns; PATH:ARGUMENT gives it an argument.

    Of a config.json, as a work directory keeps it, the config of that run.

    A file that is not in the current folder may be one of this package, such as configs/bytes.py,
    or "bytes" in short.

    Raises:
      UserError: there is no such file, or it raises; names the line.
    """
    name, colon, argument = path.partition(":")
    user_path(path, "--config")
    if not name:
        raise UserError("--config can't be read: the path is empty")
    own = PACKAGE / "configs"
    paths = (user_path(name, "--config"), PACKAGE / name, own / f"{name}.py")
    file = next((each for each in paths if each.is_file()), None)
    if file is None and any(each.is_dir() for each in paths):
        raise UserError(f"--config={name} is a folder; name a file with get_config()")
    if file is None:
        known = sorted(each.stem for each in own.glob("*.py") if "get_config" in each.read_text())
        raise UserError(
            f"--config can't be read: No such file or directory: {name!r}; those of the package "
            f"are {', '.join(known)}"
        )
    if file.suffix == ".json":
        return flags_of(read_config_json(file))
    try:
        get_config = _module(file.resolve()).get_config
        config: ConfigDict = get_config(argument) if colon else get_config()
        return config.lock()
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise _error_in(file.resolve(), error) from error


def _module(file: Path) -> ModuleType:
    """The module of a config file; one of this package has its own name."""
    if file.is_relative_to(PACKAGE / "configs"):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        return importlib.import_module(".".join(("lengthwise", *parts)))
    folder = str(file.parent)
    if folder not in sys.path:
        sys.path.append(folder)  # the file may import what lies beside it
    spec = importlib.util.spec_from_file_location(f"config_file_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _error_in(file: Path, error: BaseException) -> UserError:
    """What a config file raised, and in which line of it."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == file]
    line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
    message = str(error.args[0]) if error.args else ""
    unknown = re.search(r'Key "(\w+)" does not exist', message)
    if unknown and (called := field_synonyms(unknown[1])):
        message = f"{unknown[1]!r} is called {' or '.join(called)} here"
    elif "Did you mean" in message:  # ml_collections lists all fields before
        message = message[message.index("Did you mean") :].rstrip("'")
    return UserError(f"{file}:{line}: {type(error).__name__}: {message}")


def override(config: ConfigDict, arguments: Sequence[str]) -> ConfigDict:
    """`config` with the fields that flags set.

    Raises:
      UserError: an unknown field, a value of the wrong type, a tuple that is given twice.
    """
    of_phases = [each for each in arguments if _PHASE.match(field_of(each))]
    arguments = [each for each in arguments if each not in of_phases]
    names = field_names(config)
    given: set[str] = set()
    for argument in arguments:
        field = field_of(argument)
        if field not in names:
            raise UserError(f"unknown config field --config.{field}; {instead_of(field, names)}")
        section = value_of(config, field)
        if isinstance(section, ConfigDict):
            inside = ", ".join(_as_flag(f"{field}.{each}") for each in section)
            raise UserError(f"{argument}: that is a section; set one of its fields: {inside}")
        # Of all other fields the last value counts; values of a tuple would be strung together.
        if field in given and isinstance(value_of(config, field), tuple):
            raise UserError(f"--config.{field} is given twice; name all of its values once")
        given.add(field)
    values = flags.FlagValues()
    command = ["config", *arguments]
    try:
        holder = config_flags.DEFINE_config_dict(
            "config", config, flag_values=values, sys_argv=command
        )
        values(command)
    except Exception as error:
        raise UserError(one_line(error)) from error
    overridden: ConfigDict = holder.value
    for argument in of_phases:
        overridden = _override_phase(overridden, argument)
    return overridden


def _override_phase(config: ConfigDict, argument: str) -> ConfigDict:
    """`config` with a field of one phase, --config.phases.NUMBER.FIELD, which `phase` types.

    Raises:
      UserError: there is no such phase; or as `override`, of the field of `phase`.
    """
    match = _PHASE.match(field_of(argument))
    assert match is not None
    number, field = int(match[1]), f"phase.{match[2]}"
    phases = list(config.phases or ({},))
    if number >= len(phases):
        raise UserError(
            f"--config.{field_of(argument)}: phases are counted from 0, and there are {len(phases)}"
        )
    plain = argument.replace(f"phases.{match[1]}.", "phase.", 1)
    template = override(config.copy_and_resolve_references(), [plain])
    change: Any = value_of(template, field)
    for name in reversed(match[2].split(".")):
        change = {name: change}
    phases[number] = _merged(phases[number], change)
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.phases = tuple(phases)
    return config


def _merged(overlay: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """An overlay of a phase with those of `change` on top."""
    merged = dict(overlay)
    for name, value in change.items():
        nested = isinstance(value, Mapping)
        merged[name] = _merged(merged.get(name, {}), value) if nested else value
    return merged


def field_of(argument: str) -> str:
    """Dotted name of the field that a flag sets."""
    return argument.lstrip("-").partition("=")[0].removeprefix("no").removeprefix("config.")


def unknown_flag(name: str) -> str | None:
    """The message of a flag that there is none of, where it may have been meant for a field."""
    names = field_names(base.get_config())
    last = name.rpartition(".")[2]
    if name in names:
        return f"unknown flag --{name}; fields of the config are set by --config.{name}"
    if field_synonyms(name) or any(each.rpartition(".")[2] == last for each in names):
        return f"unknown flag --{name}; {instead_of(name, names)}"
    return None


def instead_of(field: str, fields: list[str]) -> str:
    """What to write instead of a field that there is none of."""
    if called := field_synonyms(field):
        return f"it is called {' or '.join(map(_as_flag, called))} here"
    return f"nearest: {', '.join(map(_as_flag, nearest_fields(field, fields)))}"


def _as_flag(name: str) -> str:
    return name if name.startswith("-") else f"--config.{name}"


def nearest_fields(field: str, fields: list[str]) -> list[str]:
    """Fields of the same name in other sections, up to three; where there is none, the field that
    is written most alike."""
    _, _, name = field.rpartition(".")
    same = [each for each in fields if each.rpartition(".")[2] == name]
    return difflib.get_close_matches(field, same or fields, n=3 if same else 1, cutoff=0.0)


def field_names(config: ConfigDict, prefix: str = "") -> list[str]:
    """Dotted names of all fields, sections included."""
    names = []
    for name, value in config.items():
        names.append(prefix + name)
        if isinstance(value, ConfigDict):
            names += field_names(value, f"{prefix}{name}.")
    return names


def value_of(config: ConfigDict, field: str) -> object:
    """The value of a dotted name."""
    return functools.reduce(lambda section, name: section[name], field.split("."), config)
