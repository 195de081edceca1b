"""Runs of a grid: their settings, which of them are missing, and training these."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
from ml_collections import ConfigDict

from lengthwise.app import modes
from lengthwise.common.cores import available_cores
from lengthwise.common.errors import UserError
from lengthwise.common.progress import ProgressBar
from lengthwise.configs.resolve import load
from lengthwise.configs.version import deciding
from lengthwise.experiments.text.code_version import code_fingerprint
from lengthwise.experiments.text.design import RATE, RunGrid, TextArm, TextQuestion
from lengthwise.experiments.text.row import MAIN, PILOT, TRIED_RATE, Row, add_row, read_rows
from lengthwise.experiments.text.work_directory import row_of
from lengthwise.experiments.trials import LOG, redirect_output
from lengthwise.train.machine.workdir import InUseError

_WAIT = 5.0  # seconds, for runs of other processes
# Where things lie, and how they are computed: no part of a run.
_PLACES = (
    *("data.store", "data.path", "data.workers", "data.verify", "extensions"),
    *("train.compilation_cache", "train.init_from", "train.reader_threads", "train.prefetch"),
)


@dataclass(frozen=True)
class Run:
    """One training run: an arm under a seed, for a purpose."""

    grid: RunGrid
    arm: TextArm
    seed: int
    rate: float
    purpose: str = MAIN

    @property
    def parent(self) -> Run | None:
        """The run from whose weights it starts.

        Its rate is the base's, whatever an arm's own one: all arms of a seed have one start.
        """
        if not self.arm.after:
            return None
        rate = float(self.grid.base().optimizer.learning_rate)
        return Run(self.grid, self.grid.arm(self.arm.after), self.seed, rate, self.purpose)

    def config(self) -> ConfigDict:
        """The config of its run, as `main.py` takes it."""
        config = self.grid.config(self.arm)
        config.update_from_flattened_dict({"seed": self.seed, RATE: self.rate})
        return config

    @property
    def scored(self) -> bool:
        """Whether it is scored: a rate that is tried and a start of others are trained alone."""
        return self.purpose != TRIED_RATE and self.arm.name in self.grid.compared

    @functools.cached_property
    def settings(self) -> str:
        """Fingerprint of all that decides it: equal for runs that are one."""
        fields = deciding(load(self.config(), None).resolved)
        decides = {name: value for name, value in fields.items() if name not in _PLACES}
        decides["after"] = None if self.parent is None else self.parent.settings
        decides["L"] = self.grid.length
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def tokens(self) -> int:
        """Tokens that it is trained on."""
        phases = load(self.config(), None).phases
        return sum(phase.steps * phase.tokens_per_step for phase in phases)

    def folder(self, directory: Path) -> Path:
        """Its work directory; other settings have another one."""
        name = f"{self.arm.name}-{self.purpose}{self.seed}-{self.settings[:8]}"
        return directory / self.grid.title / name


def rate_runs(grid: RunGrid, families: Iterable[str]) -> list[Run]:
    """Runs that choose a learning rate for each family: of its first arm, throw-away seeds."""
    runs = []
    for family in dict.fromkeys(families):
        arm = next(arm for arm in grid.arms if arm.family == family)
        for rate in grid.rates[family]:
            runs += [Run(grid, arm, seed, rate, TRIED_RATE) for seed in grid.rate_seeds]
    return runs


def pilot_runs(grid: RunGrid, question: TextQuestion, rates: Mapping[str, float]) -> list[Run]:
    """Runs that give the deviation over seeds; they count for nothing else."""
    return [
        Run(grid, arm, seed, rates[arm.family], PILOT)
        for seed in grid.pilot_seeds
        for arm in grid.pilots_of(question)
    ]


def main_runs(grid: RunGrid, questions: Iterable[str], rates: Mapping[str, float]) -> list[Run]:
    """Runs that decide questions, each once, however many claims it serves.

    TextQuestion by question; all arms under the first seed, then under the next one.
    """
    runs: dict[tuple[str, int], Run] = {}
    for name in questions:
        question = grid.question(name)
        arms = dict.fromkeys([*question.arms, grid.baseline_of(question).name])
        for seed in range(question.seeds):
            for arm in map(grid.arm, arms):
                runs.setdefault((arm.name, seed), Run(grid, arm, seed, rates[arm.family]))
    return list(runs.values())


def missing(runs: Sequence[Run], rows: Mapping[str, Row]) -> list[Run]:
    """Runs without a row."""
    return [run for run in runs if run.settings not in rows]


def hours_needed(run: Run, rows: Mapping[str, Row]) -> float | None:
    """Hours of a run: those of finished ones of its arm, else by their tokens; None: none is."""
    of_arm = [row.hours for row in rows.values() if row.arm == run.arm.name]
    if of_arm:
        return sum(of_arm) / len(of_arm)
    tokens = sum(row.budget("tokens") for row in rows.values())
    return run.tokens * sum(row.hours for row in rows.values()) / tokens if tokens else None


def train_missing(
    runs: Sequence[Run], file: Path, directory: Path, deadline: float | None
) -> tuple[int, list[Run]]:
    """Trains runs without a row and adds their rows; returns (exit status, what is missing still).

    A status other than 0 is that of a run that a signal ended. Several processes may do so side by
    side: each takes a run that none of the others has, and waits for theirs in the end.

    Args:
      file: of the rows.
      directory: of all work directories.
      deadline: of `time.monotonic`, after which no run starts; None: there is none.

    Raises:
      UserError: as `modes.run`, with the name of the run.
    """
    left = missing(runs, read_rows(file))
    done = len(runs) - len(left)
    with ProgressBar(total=len(runs), initial=done, desc="runs", unit="run") as bar:
        while left and (deadline is None or time.monotonic() < deadline):
            if status := _train_one(left, file, directory, bar):
                return status, left
            left = missing(left, read_rows(file))
            bar.update(len(runs) - len(left) - bar.n)
    return 0, left


def _train_one(left: Sequence[Run], file: Path, directory: Path, bar: ProgressBar) -> int:
    """Trains the first run that no other process has; returns its status.

    Where others have them all it waits for a moment.
    """
    for run in left:
        bar.set_postfix_str(f"{run.arm.name}, seed {run.seed}")
        with contextlib.suppress(InUseError):
            return _train(run, file, directory)
    bar.set_postfix_str("others train what is left")
    time.sleep(_WAIT)
    return 0


def _train(run: Run, file: Path, directory: Path) -> int:
    config, workdir = run.config(), run.folder(directory)
    if run.parent is not None:
        source = run.parent.folder(directory)
        trained = run.parent.settings in read_rows(file) and (source / "checkpoints").exists()
        if not trained and (status := _train(run.parent, file, directory)):
            return status
        config.train.init_from = str(source)
    if not config.data.store:
        config.data.store = str(directory / run.grid.title / "store")
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        config.train.compilation_cache = str(directory / "compiled")
    try:
        with redirect_output(workdir / LOG):
            if run.scored:
                status = modes.run("train", config, str(workdir))
            else:
                with modes.training_session(config, workdir) as session:
                    status = session.train()
    except InUseError:
        raise
    except UserError as error:
        raise UserError(f"{run.arm.name}, seed {run.seed}: {error}") from error
    if not status:
        cores = available_cores()
        add_row(
            file,
            row_of(
                workdir,
                run.grid.length,
                run.scored,
                arm=run.arm.name,
                seed=run.seed,
                purpose=run.purpose,
                rate=run.rate,
                settings=run.settings,
                code=code_fingerprint(),
                machine=f"{jax.devices()[0].device_kind}, {cores} processor cores",
            ),
        )
    return status
