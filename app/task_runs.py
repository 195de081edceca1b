"""Runs on a task by their work directories: identity and scored answers."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.configs.saved_config import read_config, training_fingerprint
from lengthwise.eval.answers.hits_file import load_hits
from lengthwise.eval.answers.runs import RunKey, TaskRun


def run_key(config: Mapping[str, Any], name: str, lengths: tuple[int, ...], samples: int) -> RunKey:
    """Identity of a run on a task, by its resolved config."""
    task = config["data"]["task"]
    seedless = copy.deepcopy(dict(config))
    seedless["data"]["task"]["seed"] = 0
    seeds = config["seed"], task["seed"]
    return RunKey(name, training_fingerprint(seedless), seeds, task["name"], lengths, samples)


def scored_run(workdir: Path, name: str) -> TaskRun:
    """Loads a run that was scored before. Raises UserError: `workdir` holds none on a task."""
    config = read_config(workdir)
    if config is None:
        raise UserError(f"eval.compare: {workdir} holds no run")
    if not config["data"]["task"]["name"]:
        raise UserError(f"eval.compare: {workdir} holds a run on text; leave it out")
    hits = load_hits(workdir)
    lengths = tuple(each.length for each in hits)
    return TaskRun(run_key(config, name, lengths, hits[0].hits_N.size), tuple(hits))


def distinct_names(workdirs: Sequence[Path]) -> list[str]:
    """Names by the last part of each path, or the last two where one is ambiguous."""
    parts = [workdir.resolve().parts for workdir in workdirs]
    size = 1 if len({each[-1] for each in parts}) == len(parts) else 2
    return ["/".join(each[-size:]) for each in parts]
