"""Executions of buckets: mesh view, microbatches and remat change speed and memory, no result."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.common.files import write_json
from lengthwise.common.settings import default_tree
from lengthwise.common.trees import flatten, values_of
from lengthwise.model.config import ModelConfig
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.train.config import MeshConfig, TrainConfig
from lengthwise.train.mesh import ViewShape, default_view
from lengthwise.train.phases import PhaseShape

PLAN = "plan.json"  # in a work directory
Key = tuple[int, int]  # (phase number, bucket)


@dataclasses.dataclass(frozen=True)
class BucketExecution:
    """Execution choices of one (phase, bucket)."""

    view: ViewShape
    microbatches: int  # parts of a batch computed one after the other
    remat: str  # one of model.config's policies

    def check(self, length: int, batch: int, config: MeshConfig, devices: int) -> None:
        """Raises UserError where mesh or batch can't be divided like this."""
        if (self.view.slices, self.view.tensor) != (config.slices, config.tensor):
            raise UserError(
                f"bucket {length}: the view {self.view} doesn't have mesh.slices={config.slices} "
                f"and mesh.tensor={config.tensor}, which place the parameters; plan again for these"
            )
        if self.view.devices != devices:
            raise UserError(
                f"bucket {length}: the view {self.view} is of {self.view.devices} devices, but "
                f"there are {devices}; plan again for these"
            )
        if batch % (self.microbatches * self.view.row_shards):
            raise UserError(
                f"bucket {length}: {batch} rows can't be divided into {self.microbatches} "
                f"microbatches over {self.view.row_shards} row shards of the view {self.view}; "
                "choose fewer microbatches"
            )


def default_executions(
    phases: Sequence[PhaseShape], config: MeshConfig, remat: str, devices: int
) -> Mapping[Key, BucketExecution]:
    """Executions without a plan: the phase's microbatches and as many row shards as possible.

    Raises:
      UserError: the devices can't be divided over a bucket.
    """
    executions = {}
    for phase in phases:
        microbatches = phase.config.microbatches
        for length in phase.lengths:
            rows = phase.batch_size(length) // microbatches
            view = default_view(length, rows, config, devices)
            executions[phase.number, length] = BucketExecution(view, microbatches, remat)
    return executions


def plan_fingerprint(config: TrainConfig, vocab_size: int, devices: int) -> str:
    """Fingerprint of what a plan is valid for: model, optimizer state, batches and devices."""
    batches = [
        (p.tokens_per_step, values_of(p.layout, p.layout.name), _changed(p.rope_scaling))
        for p in config.phases
    ]
    # By names and values of fields that aren't the default: a field more leaves plans valid.
    values = flatten(config.model.tree() | {"remat": "none"})
    defaults = flatten(default_tree(ModelConfig))
    model = json.dumps({n: v for n, v in values.items() if v != defaults.get(n)}, sort_keys=True)
    mesh = config.mesh
    parts = (model, config.optimizer.name, repr(batches), mesh.slices, mesh.tensor)
    content = repr((parts, vocab_size, devices))
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def _changed(scaling: RopeScaling) -> dict[str, Any]:
    """Fields that aren't the default."""
    defaults = vars(RopeScaling())
    return {name: value for name, value in vars(scaling).items() if value != defaults[name]}


def write_plan(path: Path, plan: Mapping[str, Any]) -> None:
    """Writes plan.json whole or not at all."""
    write_json(path, plan)


def read_plan(path: Path) -> dict[str, Any]:
    """The plan of plan.json.

    Raises:
      UserError: the file is no plan.
    """
    try:
        plan: dict[str, Any] = json.loads(path.read_text())
        for row in plan["buckets"]:
            _execution(row)
        plan["fingerprint"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no plan ({error!r}); make it again with --mode=plan") from error
    return plan


def _execution(row: Mapping[str, Any]) -> tuple[Key, BucketExecution]:
    execution = BucketExecution(ViewShape(**row["view"]), row["microbatches"], row["remat"])
    return (row["phase"], row["length"]), execution


def planned_executions(
    path: Path, phases: Sequence[PhaseShape], fingerprint: str
) -> Mapping[Key, BucketExecution] | None:
    """The executions of plan.json for the buckets of a run; None: there is no such file.

    Raises:
      UserError: the plan is of another model, batch or machine, or lacks a bucket.
    """
    if not path.exists():
        return None
    plan = read_plan(path)
    planned = dict(_execution(row) for row in plan["buckets"])
    if plan["fingerprint"] != fingerprint:
        raise UserError(
            f"{path} is the plan of another model, batch or number of devices, or of an older "
            "version; make it again with --mode=plan, or remove it"
        )
    keys = [(phase.number, length) for phase in phases for length in phase.lengths]
    missing = [key for key in keys if key not in planned]
    if missing:
        raise UserError(
            f"{path} lacks bucket {missing[0][1]} of phase {missing[0][0] + 1}: it was not "
            "finished; run --mode=plan again"
        )
    return {key: planned[key] for key in keys}
