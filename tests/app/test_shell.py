"""Every command ends alike: one line or a traceback, and an exit status."""

import logging
import re
import sys

import jax
import pytest
from absl import flags

from lengthwise.app.beam import prepare_on_beam
from lengthwise.app.command import shell
from lengthwise.app.harness.__main__ import main as harness
from lengthwise.common.errors import UserError
from lengthwise.experiments.run import main as experiment


@pytest.fixture
def exit_of(monkeypatch, capsys):
    """Runs a command that raises `error`, or returns it: (status, lines of stderr)."""

    def run(error):
        def command():
            if isinstance(error, int):
                return error
            raise error

        with pytest.raises(SystemExit) as end:
            shell.run_command(command)
        return end.value.code, capsys.readouterr().err.splitlines()

    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr("os._exit", sys.exit)
    yield run
    for name in ("absl", "asyncio"):
        logging.getLogger(name).filters.clear()


def test_after_a_signal_nothing_is_waited_for(exit_of, monkeypatch):
    """sys.exit would join the threads, of which one may compile for minutes."""
    monkeypatch.setattr("os._exit", lambda status: sys.exit(f"at once {status}"))
    assert exit_of(143)[0] == "at once 143"


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (0, 0, None),
        (143, 143, None),
        (UserError("two\nlines"), 2, "error: two lines"),
        (PermissionError(13, "Permission denied", "x"), 2, "error: .*Permission denied: 'x'"),
        (MemoryError("Unable to allocate 233. GiB"), 2, "error: out of memory .Unable to .*233"),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 5.00G of 4.00G\nof HBM"),
            2,
            "error: out of memory .RESOURCE_EXHAUSTED: 5.00G of 4.00G of HBM.; lower --config.phas",
        ),
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on from the last checkpoi"),
        (ValueError("a fault of ours"), 1, "Traceback"),
        (SystemExit(0), 0, None),
    ],
)
def test_the_status_and_the_line_of_an_end(exit_of, error, status, line):
    code, lines = exit_of(error)
    assert code == status
    assert bool(lines) == bool(line)
    if status in (2, 130):
        (only,) = lines
        assert re.match(line, only)
    if status == 1:
        assert lines[0].startswith(line)
        assert lines[-1] == "ValueError: a fault of ours"


def test_libraries_print_no_traceback_of_what_they_also_raise(exit_of, caplog):
    exit_of(0)
    try:
        raise OSError("the disk is full")
    except OSError:
        logging.getLogger("absl").exception("a save failed")
        logging.getLogger("asyncio").error("and a plain line")
    assert [each.getMessage() for each in caplog.records] == ["and a plain line"]


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (
            harness,
            ["--tasks=x"],
            "required: --workdir; see python -m lengthwise.app.harness --help",
        ),
        (harness, ["--workdir=x", "--tasks=y", "--limit=z"], "invalid int value: 'z'; see python"),
        (harness, ["--workdir=x", "--tasks=y", "--limit=0"], "--limit: 0 is less than 1; see"),
        (harness, ["--workdir=x", "--tasks=y", "--num_fewshot=-1"], "-1 is less than 0; see"),
        (harness, ["--workdir=x", "--tasks=y", "--max_length=-9"], "-9 is less than 0; see"),
        (experiment, ["--seeds=x", "name"], "'x'; see python -m lengthwise.experiments.run --help"),
        (experiment, ["nowhere"], "nowhere is no experiment; choose one of"),
        (prepare_on_beam, ["beam", "--workdir=x"], "--config and --workdir are needed"),
    ],
)
def test_a_wrong_argument_of_the_other_commands(command, arguments, message):
    flags.FLAGS.unparse_flags()
    with pytest.raises(UserError) as error:
        command(arguments)
    flags.FLAGS.unparse_flags()
    assert message in str(error.value)
