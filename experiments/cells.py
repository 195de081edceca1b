"""Runs of cells, kept where they are finished and gone on with where they were killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict
from tqdm import tqdm

from lengthwise.app import modes
from lengthwise.app.task import TaskSession
from lengthwise.common.errors import UserError
from lengthwise.configs import task
from lengthwise.configs.resolve import load
from lengthwise.experiments.definition import Cell
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.loop.together import train_together
from lengthwise.train.machine.signals import STATUS
from lengthwise.train.machine.workdir import flatten, read_config
from lengthwise.train.metrics.writer import read_rows
from lengthwise.train.programs.stacked import DifferentBucketsError

# Fields that runs in lockstep leave as configs/task.py has them; see `train.loop.together`.
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


ANSWERS = Path("eval") / "answers.json"
LOG = "log.txt"  # what a run says, in its folder


def run_cells(cells: Sequence[Cell], directory: Path, together: int = 1) -> int:
    """Trains and scores each cell in a folder of its own; returns the exit status.

    A status other than 0 is that of a run which a signal ended: the rest is not begun.

    Args:
      together: seeds of an arm that are trained in one program, at most.

    Raises:
      UserError: as `modes.run`, with the folder of the cell; or a folder holds another run.
    """
    missing = [cell for cell in cells if not is_finished(cell, directory / cell.name)]
    done = len(cells) - len(missing)
    with tqdm(total=len(cells), initial=done, desc="cells", unit="cell") as bar:
        for group in _groups(missing, directory, together):
            bar.set_postfix_str(", ".join(cell.name for cell in group))
            if status := _run(group, directory):
                return status
            for cell in group:
                if not is_finished(cell, directory / cell.name):
                    raise UserError(
                        f"{directory / cell.name} was trained for other steps than {cell.name} has "
                        "now; delete it"
                    )
            bar.update(len(group))
    return 0


def _groups(cells: Sequence[Cell], directory: Path, together: int) -> list[list[Cell]]:
    if together == 1:
        return [[cell] for cell in cells]
    alone = {cell.arm: why_alone(cell.config()) for cell in cells}
    for arm, why in alone.items():
        if why is not None:
            print(f"note: {arm}: one seed after the other ({why})")
    groups = grouped([cell for cell in cells if alone[cell.arm] is None], together, directory)
    return groups + [[cell] for cell in cells if alone[cell.arm] is not None]


def is_finished(cell: Cell, workdir: Path) -> bool:
    """Whether this very cell was trained to its end and scored."""
    saved = read_config(workdir)
    if saved is None or not (workdir / ANSWERS).exists():
        return False
    wanted = flatten(json.loads(json.dumps(load(cell.config(), saved).resolved)))
    before = flatten(saved)
    same = all(
        before.get(name) == wanted.get(name)
        for name in before.keys() | wanted.keys()
        if name != "train.compilation_cache"  # where the folder lay
    )
    scored = json.loads((workdir / ANSWERS).read_bytes())["checkpoint_step"]
    steps = sum(phase["steps"] for phase in saved["phases"])
    return same and scored in steps_to_score(workdir, saved["eval"]["checkpoint"], steps)


def steps_to_score(workdir: Path, checkpoint: str, steps: int) -> set[int]:
    """The step whose score ends a run: its last or its best one, of which there may be several
    with the same score. Empty: it was not trained to its end, `steps` or early stopping."""
    rows = read_rows(workdir / "metrics.jsonl")
    ends = [row for row in rows if row["kind"] == "end"]
    if not ends or (ends[-1]["step"] != steps and ends[-1]["reason"] != "early stopping"):
        return set()
    if checkpoint == "last":
        return {int(ends[-1]["step"])}
    evals = [row for row in rows if row["kind"] == "eval"]
    best = evals[-1]["best_score"]
    return {int(row["step"]) for row in evals if row["stopping_score"] == best}


def _run(group: Sequence[Cell], directory: Path) -> int:
    names = ", ".join(cell.name for cell in group)
    workdirs = [directory / cell.name for cell in group]
    configs = [_config(cell, directory) for cell in group]
    try:
        if len(group) > 1:
            return run_group(configs, workdirs, LOG)
        with saying(workdirs[0] / LOG):
            return modes.run("train", configs[0], str(workdirs[0]))
    except DifferentBucketsError:
        # Before any of them was begun.
        tqdm.write(f"note: {names}: one after the other (their samples fill different buckets)")
        return next((status for cell in group if (status := _run([cell], directory))), 0)
    except UserError as error:
        raise UserError(f"{names}: {error}") from error


def _config(cell: Cell, directory: Path) -> ConfigDict:
    config = cell.config()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        config.train.compilation_cache = str(directory / "compiled")  # cells share programs
    return config
