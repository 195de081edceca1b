"""A config as the settings objects that the rooms take."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from ml_collections import ConfigDict

from lengthwise.common.errors import UserError
from lengthwise.common.registry import import_extensions
from lengthwise.common.trees import as_tree, build, resolve_overlays
from lengthwise.configs import base
from lengthwise.configs.base import RunConfig
from lengthwise.configs.version import deciding
from lengthwise.data.sources.tasks import task_tokenizer
from lengthwise.data.store.tokenizers import BYTES


def load(
    config: ConfigDict, saved: Mapping[str, Any] | None, explicit: Collection[str] = ()
) -> RunConfig:
    """Resolves a config.

    Args:
      explicit: fields that the command line sets. A warm-up among them is never clipped.
      saved: the work directory's own resolved config, where it has one. A `budget_steps` that is
        left to be derived keeps its first value, so that a longer run rewrites no earlier batch.

    Raises:
      UserError: a field that there is none of, or a value that it can't have.
    """
    tree = resolve_overlays(RunConfig, config.to_dict())
    earlier = saved["phases"] if saved else []
    for number, phase in enumerate(tree["phases"]):
        if phase["budget_steps"] == 0:
            is_known = number < len(earlier)
            phase["budget_steps"] = earlier[number]["budget_steps"] if is_known else phase["steps"]
    run = build(RunConfig, tree)
    if "optimizer.warmup_steps" in explicit:
        first = run.rate_schedules[0]
        run.phases[0].rate.over(run.optimizer).check_schedule(first.steps)
    return _with_task_tokenizer(run)


def from_saved(saved: Mapping[str, Any]) -> RunConfig:
    """The run of a resolved config, as a work directory keeps it, without a config file.

    Raises:
      UserError: it has other fields than this version knows, or components from outside that can't
        be imported.
    """
    import_extensions(saved.get("extensions", ()))
    about = ("version", "extensions")
    tree = {name: value for name, value in saved.items() if name not in about}
    config = _with_task_tokenizer(build(RunConfig, tree))
    differing = deciding(config.resolved).keys() ^ deciding(saved).keys()
    if differing:
        raise UserError(
            f"the saved config is of another version: {', '.join(sorted(differing)[:3])} "
            "differ; use the version that wrote it, or another --workdir"
        )
    return config


def flags_of(saved: Mapping[str, Any]) -> ConfigDict:
    """A resolved config as a config file would give it: `load` of it is the same run.

    Phases override fields of `phase`, which has those of the first. A budget that is no other than
    the steps is left to be derived, so that it follows the steps of another run.

    Raises:
      UserError: see `from_saved`.
    """
    tree = as_tree(from_saved(saved))
    phases = [
        phase | {"budget_steps": 0} if phase["budget_steps"] == phase["steps"] else phase
        for phase in tree.pop("phases")
    ]
    overlays = tuple(_changes(phases[0], phase) for phase in phases)
    phases_of = overlays if len(phases) > 1 else ()
    return base.as_flags({**tree, "phase": phases[0], "phases": phases_of})


def _changes(template: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a tree that are others than in the template; see `common.trees.overlay`."""
    return {
        name: _changes(template[name], value) if isinstance(value, dict) else value
        for name, value in whole.items()
        if value != template[name]
    }


def _with_task_tokenizer(config: RunConfig) -> RunConfig:
    """A task brings its own vocabulary: `config` with the tokenizer of its task, if it has one.

    Raises UserError: an impossible task, settings that only a task has, or that none can have.
    """
    data = config.data
    source = data.sources[0]
    if source.source != "task":
        if source.task.name:
            raise UserError(f"data.task.name={source.task.name!r} needs data.source='task'")
        for number, phase in enumerate(config.phases):
            if phase.layout.targets == "answers":
                raise UserError(
                    f"phases[{number}].layout.targets='answers' needs data.source='task'; of any "
                    "other source all targets are trained"
                )
        return config
    tokenizer = task_tokenizer(source.task)
    if data.tokenizer not in (BYTES, tokenizer):
        raise UserError(
            f"data.tokenizer={data.tokenizer!r}: a task brings its own; leave it {BYTES!r}"
        )
    if data.near_duplicate_threshold:
        raise UserError(
            f"data.near_duplicate_threshold={data.near_duplicate_threshold}: all samples of a "
            "task are alike; set it to 0"
        )
    return dataclasses.replace(config, data=dataclasses.replace(data, tokenizer=tokenizer))
