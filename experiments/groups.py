"""Cells that are trained together: an arm under several seeds, in one program."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

import modes
from configs import task
from experiment import load
from experiments.definition import Cell
from task_session import TaskSession
from train.checkpoint import Checkpoints
from train.signals import STATUS
from train.together import train_together
from train.workdir import flatten

# Fields that runs in lockstep leave as configs/task.py has them; see `train.together`.
_OF_ONE = re.compile(r"(stopping|anomaly|profile|mesh)\.|train\.init_from$|eval\.checkpoint$")


def why_alone(config: ConfigDict) -> str | None:
    """Why a cell of this config can't be trained together with other seeds; None: it can."""
    if jax.device_count() > 1:
        return f"{jax.device_count()} devices, and runs are trained together on one"
    plain = flatten(load(task.get_config(), None).resolved)
    experiment = load(config, None)
    for phase in experiment.train.phases:
        if phase.positions.kind != "none" and not phase.positions.random:
            return f"positions of {phase.positions.kind!r} are drawn outside of the step"
    asked = flatten(experiment.resolved)
    for name, value in asked.items():
        first = re.sub(r"phases\.\d+", "phases.0", name)
        if _OF_ONE.match(name) and value != plain[first]:
            return f"{name}={value!r} is for a run by itself"
    return None


def grouped(cells: Iterable[Cell], most: int, directory: Path) -> list[list[Cell]]:
    """Cells in groups of one arm each, of at most so many.

    A group must be able to go on from one step: cells that were begun are with those alone that
    have a checkpoint of the same step.
    """
    found: list[list[Cell]] = []
    for cell in cells:
        steps = checkpoint_steps(directory / cell.name)
        for group in found:
            others = [checkpoint_steps(directory / other.name) for other in group]
            shared = steps.intersection(*others) if steps else not any(others)
            if group[0].arm == cell.arm and len(group) < most and shared:
                group.append(cell)
                break
        else:
            found.append([cell])
    return found


def checkpoint_steps(workdir: Path) -> set[int]:
    """Steps of the checkpoints in a work directory."""
    return {int(path.name) for path in workdir.glob("checkpoints/*") if path.name.isdigit()}


def run_group(configs: Sequence[ConfigDict], workdirs: Sequence[Path], log: str) -> int:
    """Trains cells together and scores each in its folder; returns the exit status.

    log: name of the file in each folder that takes what its run says.

    Raises:
      UserError: as `modes.run`, of any of them.
    """
    with contextlib.ExitStack() as held:
        sessions: list[TaskSession] = []
        checkpoints: list[Checkpoints] = []
        for config, workdir in zip(configs, workdirs, strict=True):
            with saying(workdir / log):
                session = held.enter_context(modes.training_session(config, workdir))
            assert isinstance(session, TaskSession)
            if sessions:
                session.score_with(sessions[0])
            sessions.append(session)
            checkpoints.append(
                held.enter_context(contextlib.closing(Checkpoints(workdir / "checkpoints")))
            )
        with saying(workdirs[0] / log):
            outcomes = train_together(
                [each.trainee(of) for each, of in zip(sessions, checkpoints, strict=True)]
            )
        if outcomes[0].reason in STATUS:
            return STATUS[outcomes[0].reason]
        for session, of, workdir in zip(sessions, checkpoints, workdirs, strict=True):
            with saying(workdir / log):
                session.score_checkpoint(of)
    return 0


@contextlib.contextmanager
def saying(log: Path) -> Iterator[None]:
    """What is printed inside goes to the end of a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file, contextlib.redirect_stdout(file):
        yield
