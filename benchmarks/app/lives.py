"""Lives of a run: processes that are started, killed at chosen moments, and started again."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.metrics.writer import read_rows

PROGRAM = ("-m", "lengthwise")
# Fields of rows that tell of a life, not of the run.
OF_A_LIFE = (
    *("time", "seconds", "tokens_per_second", "flops_per_second", "peak_share"),
    "data_wait_seconds",
)


def write_corpus(folder: Path) -> None:
    """Modules of this Python's standard library, a text each."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in ("asyncio", "email", "json", "logging", "unittest"):
        for module in (Path(sysconfig.get_path("stdlib")) / package).glob("*.py"):
            shutil.copy(module, folder / f"{package}-{module.stem}.txt")


def log_of(workdir: Path) -> Path:
    """Where the processes of a work directory print: beside it, one after the other."""
    return workdir.parent / f"{workdir.name}.log"


def start(
    workdir: Path, *arguments: str, program: Sequence[str] = PROGRAM
) -> subprocess.Popen[bytes]:
    """`python main.py --workdir=WORKDIR ARGUMENTS` on one CPU device; prints into its log.

    Not into a pipe: nobody empties one while waiting for the moment to kill.
    """
    workdir.parent.mkdir(parents=True, exist_ok=True)
    with log_of(workdir).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *program, f"--workdir={workdir}", *arguments],
            env={**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def start_all(processes: int, workdir: Path, *arguments: str) -> list[subprocess.Popen[bytes]]:
    """The processes of a life, of one CPU device each."""
    if processes == 1:
        return [start(workdir, *arguments)]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    together = ("--distributed", f"--coordinator={address}", f"--num_processes={processes}")
    return [
        start(workdir, *arguments, *together, f"--process_id={number}")
        for number in range(processes)
    ]


def finish(workdir: Path, *arguments: str, program: Sequence[str] = PROGRAM) -> tuple[int, str]:
    """A life to its end: exit status and what it printed."""
    log = log_of(workdir)
    before = log.stat().st_size if log.exists() else 0
    status = start(workdir, *arguments, program=program).wait()
    return status, log.read_bytes()[before:].decode(errors="replace")


def exit_statuses(lives: Sequence[subprocess.Popen[bytes]], seconds: float) -> list[int | None]:
    """Exit statuses as a shell gives them; None of a process that hasn't ended in time."""
    until = time.monotonic() + seconds
    statuses: list[int | None] = []
    for life in lives:
        try:
            status = life.wait(max(0.0, until - time.monotonic()))
            statuses.append(status if status >= 0 else 128 - status)
        except subprocess.TimeoutExpired:
            statuses.append(None)
    return statuses


def end_all(lives: Sequence[subprocess.Popen[bytes]]) -> None:
    """Leaves no process behind, however this one ends."""
    for life in lives:
        if life.poll() is None:
            life.kill()
        life.wait()


def steps_logged(workdir: Path) -> int:
    path = workdir / "metrics.jsonl"
    return path.read_bytes().count(b'"kind": "train"') if path.exists() else 0


def saving(workdir: Path) -> bool:
    """Whether a save is under way, or was when the process was killed."""
    return any((workdir / "checkpoints").glob("*orbax-checkpoint-tmp*"))


def wait_until(life: subprocess.Popen[bytes], condition: Callable[[], bool]) -> bool:
    """Waits for the condition; False where the process ended before."""
    while life.poll() is None:
        if condition():
            return True
        time.sleep(0.001)
    return False


def kill_when(life: subprocess.Popen[bytes], condition: Callable[[], bool]) -> bool:
    """SIGKILLs once `condition()` holds; False where the run ended before."""
    if not wait_until(life, condition):
        return False
    life.send_signal(signal.SIGKILL)
    life.wait()
    return True


def step_checksums(workdir: Path) -> list[str]:
    """Of (batch, loss, parameters) after each step, which must stand there once and in order.

    Needs train.checksums.
    """
    rows = [row for row in read_rows(workdir / "metrics.jsonl") if row["kind"] == "train"]
    steps = [row["step"] for row in rows]
    if steps != list(range(1, len(rows) + 1)):
        raise AssertionError(f"{workdir}: steps {steps} are not 1, 2, ... once each")
    return [row["checksum"] for row in rows]


def lasting_rows(workdir: Path) -> list[dict[str, Any]]:
    """Rows of steps and scores without what tells of the life that wrote them."""
    return [
        {name: value for name, value in row.items() if name not in OF_A_LIFE}
        for row in read_rows(workdir / "metrics.jsonl")
        if row["kind"] in ("train", "eval")
    ]


def array_checksums(workdir: Path) -> dict[int, dict[str, int]]:
    """Of every array of every checkpoint, the optimizer's too, by step.

    But for one whose deletion a kill cut short.
    """
    checkpoints = Checkpoints(workdir / "checkpoints", read_only=True)
    whole = [int(path.parent.name) for path in (workdir / "checkpoints").glob("*/metrics")]
    try:
        return {step: checkpoints.host(step)["checksums"] for step in whole}
    finally:
        checkpoints.close()


def differences(undisturbed: Path, killed: Path) -> list[str]:
    """In what two finished runs are not the same."""
    found = []
    rows = lasting_rows(undisturbed), lasting_rows(killed)
    for kind, what in (("train", "batch, loss or parameters"), ("eval", "scores")):
        these, those = ([row for row in each if row["kind"] == kind] for each in rows)
        if len(these) != len(those):
            found.append(f"number of rows of kind {kind}: {len(these)} and {len(those)}")
        unequal = [a["step"] for a, b in zip(these, those, strict=False) if a != b]
        if unequal:
            found.append(f"{what} from step {unequal[0]} on")
    one, other = array_checksums(undisturbed), array_checksums(killed)
    if max(one) != max(other):
        found.append(f"last checkpoint: {max(one)} and {max(other)}")
    # Those of SIGTERMs are the killed run's alone.
    found += [
        f"array {name} of checkpoint {step}"
        for step in sorted(one.keys() & other.keys())
        for name in one[step]
        if one[step][name] != other[step].get(name)
    ]
    results = [workdir / "eval" / "results.json" for workdir in (undisturbed, killed)]
    there = [path.exists() for path in results]
    if there[0] != there[1]:
        found.append("results.json is missing from one")
    elif all(there) and json.loads(results[0].read_text()) != json.loads(results[1].read_text()):
        found.append("results.json")
    return found
