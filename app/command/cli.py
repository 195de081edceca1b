"""Lengthwise: train on natural lengths, score beyond them.

    python main.py --config=configs/quickstart.py --workdir=runs/quickstart [--config.FIELD=VALUE]
    python main.py --workdir=runs/quickstart [--mode=eval] [--config.FIELD=VALUE]

A work directory keeps the config of its run, so that --config is for the first start alone; fields
that may change go on top.
`--mode=train` prepares the data when missing, goes on where WORKDIR left off, and writes the
report; `eval` scores a trained work directory again; `generate` continues prompts; `prepare` only
makes the token store; `plan` chooses how each bucket is computed on the TPUs that mesh.topology
names, with no data and no TPU; `export` writes a folder that transformers loads, to export.path.
--config=configs/huggingface.py:FOLDER takes the model and the weights of such a folder.
"""

import contextlib
import sys
from pathlib import Path
from typing import NamedTuple

from absl import flags
from ml_collections import ConfigDict

from lengthwise.app.command import shell
from lengthwise.app.command.config_file import (
    field_of,
    override,
    read_config_file,
    split_flags,
    unknown_flag,
)
from lengthwise.app.command.help import HELP, help_page
from lengthwise.common.errors import UserError, one_line
from lengthwise.common.paths import user_path
from lengthwise.configs import base
from lengthwise.configs.resolve import flags_of, load
from lengthwise.configs.saved_config import read_config
from lengthwise.train.machine.meeting import Meeting

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
    "mode", "train", ["train", "eval", "generate", "prepare", "plan", "export"], "What to do."
)


def main(argv: list[str], meeting: Meeting | None = None) -> int:
    """Runs the command; returns the exit status.

    meeting: of the processes of the run, where it has begun.
    """
    if HELP & set(argv[1:]):
        print(help_page(__doc__ or ""))
        return 0
    command = parse(argv)
    config = command.config
    if len(command.rest) > 1:
        raise UserError(
            f"unexpected argument {command.rest[1]!r}; fields are set by --config.field=value"
        )
    workdir = _WORKDIR.value
    if _MODE.value == "plan" and not workdir:
        workdir = "."  # where plan.json goes
    if not workdir:
        raise UserError("--workdir is missing; see python main.py --help")
    if config is None:
        raise UserError(
            f"--config is missing, and --workdir={workdir} holds no run whose config could be "
            "taken; see python main.py --help"
        )
    workdir = str(user_path(workdir, "--workdir"))
    # After the flags: --help and a mistyped field should not wait for jax.
    if _DISTRIBUTED.value:
        from lengthwise.train.machine import processes

        with contextlib.ExitStack() as stack:
            meeting = meeting or stack.enter_context(Meeting(Path(workdir)))
            processes.join(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value, meeting)
        processes.quiet_unless_first()
        return processes.together(lambda: _run(command, workdir), shell.exit_message_and_status)
    for flag in (_COORDINATOR, _NUM_PROCESSES, _PROCESS_ID):
        if flag.value is not None:
            raise UserError(f"--{flag.name} is for several processes; add --distributed")
    return _run(command, workdir)


def _run(command: "Command", workdir: str) -> int:
    config = command.config
    assert config is not None
    load(config, None, command.fields)  # a wrong value is told before jax is imported
    from lengthwise.app import modes

    return modes.run(_MODE.value, config, workdir)


class Command(NamedTuple):
    """A parsed command line."""

    config: ConfigDict | None  # None: there is no --config, and no run in --workdir
    fields: tuple[str, ...]  # dotted names of those that flags set
    rest: list[str]  # of argv, its first item included


def parse(argv: list[str], *, known_only: bool = False) -> Command:
    """Parses the flags and reads the config: a file's, else that of the run in --workdir.

    known_only: leave flags that are not ours for others.

    Raises:
      UserError: an unknown flag or field, a value of the wrong type, a config file that is not
        there or raises.
    """
    try:
        arguments = flags.FLAGS.read_flags_from_files(argv, force_gnu=False)
        path, fields, others = split_flags(arguments)
        rest: list[str] = flags.FLAGS(others, known_only=known_only)
    except flags.UnrecognizedFlagError as error:
        raise UserError(unknown_flag(error.flagname) or str(error)) from error
    except flags.Error as error:
        raise UserError(one_line(error)) from error
    config = _saved_config() if path is None else read_config_file(path)
    # A wrong field is told even where there is no config.
    overridden = override(base.get_config() if config is None else config, fields)
    config = None if config is None else overridden
    return Command(config, tuple(map(field_of, fields)), rest)


def _saved_config() -> ConfigDict | None:
    """The config of the run in --workdir; None where there is none."""
    if not _WORKDIR.value:
        return None
    saved = read_config(user_path(_WORKDIR.value, "--workdir"))
    return None if saved is None else flags_of(saved)


def entry(meeting: Meeting | None = None) -> None:
    """Parses the flags of sys.argv and runs; exits as every command does."""
    shell.run_command(lambda: main(sys.argv, meeting))
