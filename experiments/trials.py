"""Runs trials in folders of their own: skips finished ones, resumes killed ones.

Seeds of an arm are trained together in one program where their settings allow it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from lengthwise.app import modes
from lengthwise.app.session import Session
from lengthwise.app.task import TaskScoring
from lengthwise.common.errors import UserError
from lengthwise.common.progress import ProgressBar
from lengthwise.common.trees import flatten
from lengthwise.configs import task
from lengthwise.configs.resolve import load
from lengthwise.configs.saved_config import read_config
from lengthwise.configs.version import deciding
from lengthwise.experiments.definition import Trial
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.loop.start import train_together
from lengthwise.train.machine.signals import STATUS
from lengthwise.train.metrics.writer import read_rows
from lengthwise.train.programs.stacked import DifferentBucketsError

ANSWERS = Path("eval") / "answers.json"
LOG = "log.txt"  # the output of a run, in its folder
# Fields that runs trained together leave at their values in configs/task.py; see
# `train.loop.start.train_together`.
_SOLITARY = re.compile(
    r"(stopping|anomaly|profile|mesh)\.|train\.init_from$|eval\.checkpoint$|phases\.\d+\.end\."
)


def run_trials(trials: Sequence[Trial], directory: Path, together: int = 1) -> int:
    """Trains and scores each trial in a folder of its own; returns the exit status.

    A status other than 0 is that of a run that a signal ended; later trials are not started.

    Args:
      together: largest number of seeds of an arm to train in one program.

    Raises:
      UserError: as `modes.run`, with the folder of the trial; or a folder holds another run.
    """
    missing = [trial for trial in trials if not is_finished(trial, directory / trial.name)]
    done = len(trials) - len(missing)
    with ProgressBar(total=len(trials), initial=done, desc="trials", unit="trial") as bar:
        for group in _groups(missing, directory, together):
            bar.set_postfix_str(", ".join(trial.name for trial in group))
            if status := _run(group, directory):
                return status
            for trial in group:
                if not is_finished(trial, directory / trial.name):
                    raise UserError(
                        f"{directory / trial.name} was trained for other steps than {trial.name} "
                        "has now; delete it"
                    )
            bar.update(len(group))
    return 0


def is_finished(trial: Trial, workdir: Path) -> bool:
    """Whether the folder holds this trial, with these settings, trained to its end and scored."""
    saved = read_config(workdir)
    if saved is None or not (workdir / ANSWERS).exists():
        return False
    settings, old = deciding(load(trial.config(), saved).resolved), deciding(saved)
    same = all(
        old.get(name) == settings.get(name)
        for name in old.keys() | settings.keys()
        # Where the folder and modules lay.
        if name not in ("train.compilation_cache", "extensions")
    )
    scored = json.loads((workdir / ANSWERS).read_bytes())["checkpoint_step"]
    steps = sum(phase["steps"] for phase in saved["phases"])
    return same and scored in steps_to_score(workdir, saved["eval"]["checkpoint"], steps)


def steps_to_score(workdir: Path, checkpoint: str, steps: int) -> set[int]:
    """The step whose score ends a run: the last one, or the best, of which several may tie.

    Empty where the run reached neither `steps` nor early stopping.
    """
    rows = read_rows(workdir / "metrics.jsonl")
    ends = [row for row in rows if row["kind"] == "end"]
    if not ends or (ends[-1]["step"] != steps and ends[-1]["reason"] != "early stopping"):
        return set()
    if checkpoint == "last":
        return {int(ends[-1]["step"])}
    evals = [row for row in rows if row["kind"] == "eval"]
    best = evals[-1]["best_score"]
    return {int(row["step"]) for row in evals if row["stopping_score"] == best}


def _groups(trials: Sequence[Trial], directory: Path, together: int) -> list[list[Trial]]:
    if together == 1:
        return [[trial] for trial in trials]
    alone = {trial.arm: why_alone(trial.config()) for trial in trials}
    for arm, why in alone.items():
        if why is not None:
            print(f"note: {arm}: one seed after the other ({why})")
    groups = group_by_arm(
        [trial for trial in trials if alone[trial.arm] is None], together, directory
    )
    return groups + [[trial] for trial in trials if alone[trial.arm] is not None]


def why_alone(config: ConfigDict) -> str | None:
    """The reason why a trial can't be trained together with other seeds; None: it can."""
    if jax.device_count() > 1:
        return f"{jax.device_count()} devices, and runs are trained together on one"
    plain = flatten(load(task.get_config(), None).resolved)
    experiment = load(config, None)
    for phase in experiment.phases:
        if phase.positions.kind != "none" and not phase.positions.random:
            return f"positions of {phase.positions.kind!r} are drawn outside of the step"
    fields = flatten(experiment.resolved)
    for name, value in fields.items():
        first = re.sub(r"phases\.\d+", "phases.0", name)
        if _SOLITARY.match(name) and value != plain[first]:
            return f"{name}={value!r} is for a run by itself"
    return None


def group_by_arm(trials: Iterable[Trial], size: int, directory: Path) -> list[list[Trial]]:
    """Groups of at most `size` trials of one arm.

    A group resumes from one step: started trials share a group only with those that have a
    checkpoint of the same step.
    """
    groups: list[list[Trial]] = []
    for trial in trials:
        steps = checkpoint_steps(directory / trial.name)
        for group in groups:
            others = [checkpoint_steps(directory / other.name) for other in group]
            shared = steps.intersection(*others) if steps else not any(others)
            if group[0].arm == trial.arm and len(group) < size and shared:
                group.append(trial)
                break
        else:
            groups.append([trial])
    return groups


def checkpoint_steps(workdir: Path) -> set[int]:
    """Steps of the checkpoints in a work directory."""
    return {int(path.name) for path in workdir.glob("checkpoints/*") if path.name.isdigit()}


def run_group(configs: Sequence[ConfigDict], workdirs: Sequence[Path], log: str) -> int:
    """Trains trials together and scores each in its folder; returns the exit status.

    Args:
      log: name of the file in each folder that takes the output of its run.

    Raises:
      UserError: as `modes.run`, of any of them.
    """
    with contextlib.ExitStack() as stack:
        sessions: list[Session] = []
        checkpoints: list[Checkpoints] = []
        for config, workdir in zip(configs, workdirs, strict=True):
            with redirect_output(workdir / log):
                session = stack.enter_context(modes.training_session(config, workdir))
            if sessions:
                mine, shared = session.scoring, sessions[0].scoring
                assert isinstance(mine, TaskScoring)
                assert isinstance(shared, TaskScoring)
                mine.share_programs(shared)
            sessions.append(session)
            checkpoints.append(
                stack.enter_context(contextlib.closing(Checkpoints(workdir / "checkpoints")))
            )
        with redirect_output(workdirs[0] / log):
            states = train_together(
                [
                    session.training_run(each)
                    for session, each in zip(sessions, checkpoints, strict=True)
                ]
            )
        if states[0].reason in STATUS:
            return STATUS[states[0].reason]
        for session, each, workdir in zip(sessions, checkpoints, workdirs, strict=True):
            with redirect_output(workdir / log):
                session.score_checkpoint(each)
    return 0


@contextlib.contextmanager
def redirect_output(log: Path) -> Iterator[None]:
    """Appends to a file what is printed inside."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file, contextlib.redirect_stdout(file):
        yield


def _run(group: Sequence[Trial], directory: Path) -> int:
    names = ", ".join(trial.name for trial in group)
    workdirs = [directory / trial.name for trial in group]
    configs = [_config(trial, directory) for trial in group]
    try:
        if len(group) > 1:
            return run_group(configs, workdirs, LOG)
        with redirect_output(workdirs[0] / LOG):
            return modes.run("train", configs[0], str(workdirs[0]))
    except DifferentBucketsError:
        # Raised before any of them starts.
        ProgressBar.write(
            f"note: {names}: one after the other (their samples fill different buckets)"
        )
        return next((status for trial in group if (status := _run([trial], directory))), 0)
    except UserError as error:
        raise UserError(f"{names}: {error}") from error


def _config(trial: Trial, directory: Path) -> ConfigDict:
    config = trial.config()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        config.train.compilation_cache = str(directory / "compiled")  # trials share programs
    return config
