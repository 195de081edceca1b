"""Runs of cells, kept where they are finished and gone on with where they were killed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict
from tqdm import tqdm

import modes
from errors import UserError
from experiment import load
from experiments.definition import Cell
from experiments.groups import grouped, run_group, saying, why_alone
from train.metrics import read_rows
from train.stacked import DifferentBucketsError
from train.workdir import flatten, read_config

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
