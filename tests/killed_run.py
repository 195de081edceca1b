"""Runs of `main.py` in processes of their own, killed at chosen moments."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.metrics.writer import read_rows

ROOT = Path(__file__).parents[1]
MAIN = (str(ROOT / "main.py"),)


def log_of(workdir: Path) -> Path:
    """Where the processes of a work directory print: beside it, one after the other."""
    return workdir.parent / f"{workdir.name}.log"


def start(
    workdir: Path, *arguments: str, program: tuple[str, ...] = MAIN
) -> subprocess.Popen[bytes]:
    """`python main.py --workdir=WORKDIR ARGUMENTS` on one CPU device; prints into its log.

    Not into a pipe: nobody empties one while waiting for the moment to kill.
    """
    workdir.parent.mkdir(parents=True, exist_ok=True)
    with log_of(workdir).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *program, f"--workdir={workdir}", *arguments],
            cwd=ROOT,
            env={**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def finish(workdir: Path, *arguments: str, program: tuple[str, ...] = MAIN) -> tuple[int, str]:
    """The same to its end: exit status and what this process printed."""
    log = log_of(workdir)
    before = log.stat().st_size if log.exists() else 0
    status = start(workdir, *arguments, program=program).wait()
    return status, log.read_bytes()[before:].decode(errors="replace")


def steps_logged(workdir: Path) -> int:
    path = workdir / "metrics.jsonl"
    return path.read_bytes().count(b'"kind": "train"') if path.exists() else 0


def saving(workdir: Path) -> bool:
    """Whether a save is under way, or was when the process was killed."""
    return any((workdir / "checkpoints").glob("*orbax-checkpoint-tmp*"))


def kill_when(process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> bool:
    """SIGKILLs once `condition()` holds; False where the run ended before."""
    while process.poll() is None:
        if condition():
            process.kill()
            process.wait()
            return True
        time.sleep(0.001)
    return False


def step_checksums(workdir: Path) -> list[str]:
    """Of (batch, loss, parameters) after each step, which must stand there once and in order.

    Needs train.checksums.
    """
    rows = [row for row in read_rows(workdir / "metrics.jsonl") if row["kind"] == "train"]
    steps = [row["step"] for row in rows]
    if steps != list(range(1, len(rows) + 1)):
        raise AssertionError(f"{workdir}: steps {steps} are not 1, 2, ... once each")
    return [row["checksum"] for row in rows]


def array_checksums(workdir: Path) -> dict[str, int]:
    """Of every array of the newest checkpoint, the optimizer's too."""
    checkpoints = Checkpoints(workdir / "checkpoints", read_only=True)
    try:
        step = checkpoints.latest_step()
        assert step is not None
        return dict(checkpoints.host(step)["checksums"])
    finally:
        checkpoints.close()
