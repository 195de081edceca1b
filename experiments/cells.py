"""Runs of cells, kept where they are finished and gone on with where they were killed."""

from __future__ import annotations

import contextlib
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
from train.metrics import read_rows
from train.workdir import flatten, read_config

ANSWERS = Path("eval") / "answers.json"
LOG = "log.txt"  # what a run says, in its folder


def run_cells(cells: Sequence[Cell], directory: Path) -> int:
    """Trains and scores each cell in a folder of its own; returns the exit status.

    A status other than 0 is that of a run which SIGTERM ended: the rest is not begun.

    Raises:
      UserError: as `modes.run`, with the folder of the cell; or a folder holds another run.
    """
    with tqdm(cells, desc="cells", unit="cell") as bar:
        for cell in bar:
            bar.set_postfix_str(cell.name)
            workdir = directory / cell.name
            if is_finished(cell, workdir):
                continue
            if status := _run(cell, workdir, directory):
                return status
            if not is_finished(cell, workdir):
                raise UserError(
                    f"{workdir} was trained for other steps than {cell.name} has now; delete it"
                )
    return 0


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
    return same and scored == step_to_score(workdir, saved["eval"]["checkpoint"], steps)


def step_to_score(workdir: Path, checkpoint: str, steps: int) -> int | None:
    """The step whose score ends a run: its last or its best one. None: it was not trained to its
    end, which is `steps` or early stopping."""
    rows = read_rows(workdir / "metrics.jsonl")
    ends = [row for row in rows if row["kind"] == "end"]
    if not ends or (ends[-1]["step"] != steps and ends[-1]["reason"] != "early stopping"):
        return None
    if checkpoint == "last":
        return int(ends[-1]["step"])
    evals = [row for row in rows if row["kind"] == "eval"]
    return next(int(r["step"]) for r in evals if r["stopping_score"] == evals[-1]["best_score"])


def _run(cell: Cell, workdir: Path, directory: Path) -> int:
    workdir.mkdir(parents=True, exist_ok=True)
    try:
        with (workdir / LOG).open("a") as log, contextlib.redirect_stdout(log):
            return modes.run("train", _config(cell, directory), str(workdir))
    except UserError as error:
        raise UserError(f"{cell.name}: {error}") from error


def _config(cell: Cell, directory: Path) -> ConfigDict:
    config = cell.config()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        config.train.compilation_cache = str(directory / "compiled")  # cells share programs
    return config
