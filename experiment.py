"""A config as the frozen dataclasses that the rooms take."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ml_collections import ConfigDict

from data.prepare import DataConfig
from errors import UserError
from eval.config import EvalConfig
from train.loop import LoopConfig
from train.mesh import MeshConfig
from train.optimizer import OptimizerConfig
from train.phases import PhaseConfig
from train.run import ModelSettings, TrainConfig
from train.stopping import StoppingConfig

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


def build(cls: type[T], section: Mapping[str, Any]) -> T:
    """The dataclass `cls` from a section of the config, nested dataclasses too.

    Raises:
      TypeError: a field is missing or unknown; configs/base.py and the dataclass differ.
    """
    values: dict[str, Any] = {}
    types = {field.name: field.type for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name, value in section.items():
        nested = types.get(name)
        if isinstance(value, Mapping) and dataclasses.is_dataclass(nested):
            value = build(nested, value)  # type: ignore[arg-type]
        values[name] = tuple(value) if isinstance(value, list) else value
    return cls(**values)


def overlay(base: dict[str, Any], change: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`base` with the fields of `change` put over it.

    Raises:
      UserError: `change` names a field that `base` has not.
    """
    merged = copy.deepcopy(base)
    for name, value in change.items():
        if name not in merged:
            raise UserError(
                f"{where}.{name} is no field; choose one of {', '.join(sorted(merged))}"
            )
        if isinstance(merged[name], dict) and isinstance(value, Mapping):
            merged[name] = overlay(merged[name], value, f"{where}.{name}")
        else:
            merged[name] = value
    return merged


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
    data = dict(raw["data"])
    store = data.pop("store")
    evaluation = dict(raw["eval"])
    checkpoint = evaluation.pop("checkpoint")
    if checkpoint not in CHECKPOINT_CHOICES:
        raise UserError(
            f"eval.checkpoint={checkpoint!r} is unknown; "
            f"choose one of {', '.join(CHECKPOINT_CHOICES)}"
        )
    loop = dict(raw["train"])
    compile_mode, init_from = loop.pop("compile"), loop.pop("init_from")
    train = TrainConfig(
        seed=raw["seed"],
        model=build(ModelSettings, raw["model"]),
        optimizer=build(OptimizerConfig, raw["optimizer"]),
        phases=tuple(build(PhaseConfig, phase) for phase in phases),
        loop=build(LoopConfig, loop),
        stopping=build(StoppingConfig, raw["stopping"]),
        mesh=build(MeshConfig, raw["mesh"]),
        compile=compile_mode,
        init_from=init_from,
    )
    return Experiment(
        resolved=resolved,
        data=build(DataConfig, data),
        store=store,
        train=train,
        eval=build(EvalConfig, evaluation),
        eval_checkpoint=checkpoint,
    )
