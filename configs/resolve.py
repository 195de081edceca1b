"""A config as the frozen dataclasses that the rooms take."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from ml_collections import ConfigDict

from lengthwise.common.errors import UserError
from lengthwise.configs import base
from lengthwise.configs.limits import check_numbers
from lengthwise.data.batches.pipeline import ReadingConfig
from lengthwise.data.config import DataConfig
from lengthwise.data.sources import SourceConfig
from lengthwise.data.sources.tasks import task_tokenizer
from lengthwise.data.store.tokenizers import BYTES
from lengthwise.data.tasks.config import TaskConfig
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.inference.generation import GenerateConfig
from lengthwise.model.config import ModelConfig
from lengthwise.train.config import LoopConfig, TrainConfig
from lengthwise.train.machine.workdir import flatten
from lengthwise.train.mesh import MeshConfig
from lengthwise.train.metrics.profile import ProfileConfig
from lengthwise.train.phases import PhaseConfig
from lengthwise.train.rules.anomaly import AnomalyConfig
from lengthwise.train.rules.stopping import StoppingConfig
from lengthwise.train.seeds import Seeds
from lengthwise.train.step.optimizer import OptimizerConfig

T = TypeVar("T")
CHECKPOINT_CHOICES = ("last", "best")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A resolved config: what is run, and the plain dict that the work directory keeps."""

    resolved: dict[str, Any]
    data: DataConfig
    store: str  # directory of the token store; empty: inside the work directory
    train: TrainConfig
    eval: EvalConfig
    eval_checkpoint: str  # one of CHECKPOINT_CHOICES
    generate: GenerateConfig


def build(cls: type[T], section: Mapping[str, Any], where: str) -> T:
    """The dataclass `cls` from the section `where` of the config, nested dataclasses too.

    Raises:
      UserError: a value has another type than its field.
      TypeError: a field is missing or unknown; configs/base.py and the dataclass differ.
    """
    values = dict(section)
    for name, wanted in get_type_hints(cls).items():
        if name in values:
            values[name] = _typed(wanted, values[name], f"{where}.{name}")
    return cls(**values)


def _typed(wanted: Any, value: Any, where: str) -> Any:
    """`value` as the annotation `wanted` of a field says: a dataclass, a tuple or a scalar."""
    if dataclasses.is_dataclass(wanted) and isinstance(value, Mapping):
        return build(wanted, value, where)  # type: ignore[arg-type]
    if get_origin(wanted) is tuple and isinstance(value, list | tuple):
        item = get_args(wanted)[0]
        if dataclasses.is_dataclass(item):
            for i, each in enumerate(value):
                _check_fields(item, each, f"{where}[{i}]")
        return tuple(_typed(item, each, f"{where}[{i}]") for i, each in enumerate(value))
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        name = "dict" if dataclasses.is_dataclass(wanted) else wanted.__name__
        raise UserError(
            f"{where}={value!r} has the type {type(value).__name__}, but must be of type {name}"
        )
    return value


def _check_fields(cls: Any, item: Any, where: str) -> None:
    """Raises UserError when `item`, a dict that a user wrote out, lacks fields or has others."""
    names = [field.name for field in dataclasses.fields(cls)]
    if isinstance(item, Mapping) and set(item) != set(names):
        raise UserError(f"{where}={dict(item)!r} must have the fields {', '.join(names)}")


def overlay(base: dict[str, Any], change: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`base` with the fields of `change` put over it.

    Raises:
      UserError: `change` is no dict, or names a field that `base` has not.
    """
    if not isinstance(change, Mapping):
        raise UserError(f"{where}={change!r} must be a dict of the fields that it overrides")
    merged = copy.deepcopy(base)
    for name, value in change.items():
        if name not in merged:
            raise UserError(
                f"{where}.{name} is no field; choose one of {', '.join(sorted(merged))}"
            )
        if isinstance(merged[name], dict):
            merged[name] = overlay(merged[name], value, f"{where}.{name}")
        else:
            merged[name] = value
    return merged


def source_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """The one source, or the template of several, that the section `data` holds."""
    return {field.name: data[field.name] for field in dataclasses.fields(SourceConfig)}


def sources(
    data: Mapping[str, Any], changes: Sequence[Mapping[str, Any]], where: str
) -> list[dict[str, Any]]:
    """The fields of a source in the section `data`, with each item of `changes` put over them.

    Raises:
      UserError: an item is no dict, names a field that a source has not, or names no domain.
    """
    template = source_fields(data)
    overlaid = []
    for number, change in enumerate(changes):
        item = f"{where}[{number}]"
        overlaid.append(overlay(template, change, item))
        if "domain" not in change:
            raise UserError(f"{item}={change!r} must name its domain")
    return overlaid


def from_saved(saved: Mapping[str, Any]) -> Experiment:
    """The experiment of a resolved config, as a work directory keeps it, without a config file.

    Raises:
      UserError: it is of another version.
    """
    raw = base.get_config().to_dict()
    data = dict(saved["data"])
    found = data.pop("sources")
    one = len(found) == 1
    data |= found[0] if one else source_fields(raw["data"])
    resolved = {**saved, "data": {**data, "mixture": () if one else tuple(found)}}
    try:
        return load(ConfigDict({**raw, **resolved}), dict(saved))
    except (KeyError, TypeError) as error:
        raise UserError(f"the saved config is of another version: {error}") from error


def _resolve_task(data: dict[str, Any], phases: Sequence[Mapping[str, Any]]) -> None:
    """A task brings its own vocabulary: puts it into `data`, the section with its sources.

    Raises:
      UserError: an impossible task, settings that only a task has, or that none can have.
    """
    task, source = data["sources"][0]["task"], data["sources"][0]["source"]
    if source != "task":
        if task["name"]:
            raise UserError(f"data.task.name={task['name']!r} needs data.source='task'")
        for number, phase in enumerate(phases):
            if phase["layout"]["targets"] == "answers":
                raise UserError(
                    f"phases[{number}].layout.targets='answers' needs data.source='task'; of any "
                    "other source all targets are trained"
                )
        return
    tokenizer = task_tokenizer(build(TaskConfig, task, "data.task"))
    if data["tokenizer"] not in (BYTES, tokenizer):
        raise UserError(
            f"data.tokenizer={data['tokenizer']!r}: a task brings its own; leave it {BYTES!r}"
        )
    data["tokenizer"] = tokenizer
    if data["near_duplicate_threshold"]:
        raise UserError(
            f"data.near_duplicate_threshold={data['near_duplicate_threshold']}: all samples of a "
            "task are alike; set it to 0"
        )


def load(config: ConfigDict, saved: dict[str, Any] | None) -> Experiment:
    """Resolves a config.

    Args:
      saved: the work directory's own resolved config, where it has one. A `budget_steps` that is
        left to be derived keeps its first value, so that a longer run rewrites no earlier batch.
    """
    raw = config.to_dict()
    changes: Sequence[Mapping[str, Any]] = raw["phases"] or ({},)
    phases = [overlay(raw["phase"], c, f"phases[{i}]") for i, c in enumerate(changes)]
    kept = saved["phases"] if saved else []
    for number, phase in enumerate(phases):
        if phase["budget_steps"] == 0:
            first = kept[number]["budget_steps"] if number < len(kept) else phase["steps"]
            phase["budget_steps"] = first
    resolved = {name: value for name, value in raw.items() if name not in ("phase", "phases")}
    resolved["phases"] = phases
    given = {"mixture", *(field.name for field in dataclasses.fields(SourceConfig))}
    data = {name: value for name, value in raw["data"].items() if name not in given}
    mixture = raw["data"]["mixture"]
    one = source_fields(raw["data"])
    data["sources"] = sources(raw["data"], mixture, "data.mixture") if mixture else [one]
    # What related documents share matters to layouts alone: evaluation sets need no such field.
    evaluation_sets = sources(
        {**raw["data"], "group_field": ""},
        data["contamination"]["sources"],
        "data.contamination.sources",
    )
    data["contamination"] = {**data["contamination"], "sources": evaluation_sets}
    _resolve_task(data, phases)
    resolved["data"] = data
    check_numbers(flatten(resolved))
    store = data["store"]
    evaluation = dict(raw["eval"])
    checkpoint = evaluation.pop("checkpoint")
    if checkpoint not in CHECKPOINT_CHOICES:
        raise UserError(
            f"eval.checkpoint={checkpoint!r} is unknown; "
            f"choose one of {', '.join(CHECKPOINT_CHOICES)}"
        )
    loop = dict(raw["train"])
    compile_mode, init_from = loop.pop("compile"), loop.pop("init_from")
    compilation_cache = loop.pop("compilation_cache")
    reading = {field.name: loop.pop(field.name) for field in dataclasses.fields(ReadingConfig)}
    train = TrainConfig(
        seeds=Seeds.following(raw["seed"], raw["seeds"]),
        model=build(ModelConfig, raw["model"], "model"),
        optimizer=build(OptimizerConfig, raw["optimizer"], "optimizer"),
        phases=tuple(build(PhaseConfig, p, f"phases[{i}]") for i, p in enumerate(phases)),
        loop=build(LoopConfig, loop, "train"),
        reading=build(ReadingConfig, reading, "train"),
        stopping=build(StoppingConfig, raw["stopping"], "stopping"),
        anomaly=build(AnomalyConfig, raw["anomaly"], "anomaly"),
        mesh=build(MeshConfig, raw["mesh"], "mesh"),
        compile=compile_mode,
        profile=build(ProfileConfig, raw["profile"], "profile"),
        compilation_cache=compilation_cache,
        init_from=init_from,
    )
    return Experiment(
        resolved=resolved,
        data=build(DataConfig, {n: v for n, v in data.items() if n != "store"}, "data"),
        store=store,
        train=train,
        eval=build(EvalConfig, evaluation, "eval"),
        eval_checkpoint=checkpoint,
        generate=build(GenerateConfig, raw["generate"], "generate"),
    )
