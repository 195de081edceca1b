"""`--mode=plan`: writes plan.json, an execution of each bucket of a config for a TPU slice."""

import dataclasses
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies

from lengthwise.common.errors import UserError, one_line
from lengthwise.common.progress import ProgressBar
from lengthwise.data.config import DataConfig
from lengthwise.model.attention.masks import CAUSAL
from lengthwise.model.flops import train_step_flops
from lengthwise.train.config import TrainConfig
from lengthwise.train.machine.devices import libtpu_advice, other_libtpu
from lengthwise.train.plan.chips import GIB, chip_of
from lengthwise.train.plan.choose import MARGIN, Compiled, choose
from lengthwise.train.plan.shape import PlannedPhase, planned_phases, vocabulary
from lengthwise.train.programs.blueprint import Blueprint
from lengthwise.train.programs.execution import (
    BucketExecution,
    plan_fingerprint,
    read_plan,
    write_plan,
)

FLAT = ("v5e", "v6e")  # chips in a plane: of a third dimension libtpu would end the process
# Hosts of these have 2 x 2 chips, of which slices are made.
SLICES = (
    "name a slice as v5e:RxC or v6e:RxC with even R and C, such as v5e:16x16, or as v5p:XxYxZ with "
    "even X and Y, such as v5p:4x4x4"
)

# libtpu asks a machine that has no TPU for its TPUs otherwise.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    # Others may compile at the same time: there is no device that they would have to share.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def plan(config: TrainConfig, data: DataConfig, path: Path) -> int:
    """Plans every bucket and writes `path`, after each one; returns the exit status.

    Raises:
      UserError: no topology, an unknown one, or a bucket that can't fit.
    """
    devices = topology_devices(config.mesh.topology)
    chip = chip_of(devices[0].device_kind)
    vocab_size = vocabulary(data)
    phases = planned_phases(config.phases)
    blueprint = Blueprint(config, phases, vocab_size, devices)
    head = {
        "topology": config.mesh.topology,
        "chip": chip.kind,
        "devices": len(devices),
        "hbm_bytes": chip.hbm_bytes,
        "margin": MARGIN,
        "fingerprint": plan_fingerprint(config, vocab_size, len(devices)),
    }
    rows = _planned_before(path, head)
    known = {(row["phase"], row["length"]) for row in rows}
    keys = [(phase, length) for phase in phases for length in phase.lengths]
    print(f"plan: {len(keys)} buckets on {len(devices)} chips {chip.kind}, {config.mesh.topology}")
    if rows:
        print(f"plan: {len(rows)} of them are in {path}; remove it to plan them anew")
    # The longest first: if any bucket does not fit, it is one of those.
    keys.sort(key=lambda key: (-key[1], key[0].number))
    for phase, length in ProgressBar(keys, desc="planning", unit="bucket"):
        if (phase.number, length) in known:
            continue

        def compile_one(
            execution: BucketExecution, phase: PlannedPhase = phase, length: int = length
        ) -> Any:
            key = (phase.number, length)
            executions = {**blueprint.executions, key: execution}
            built = Blueprint(config, phases, vocab_size, devices, executions)
            return built.compile_step(key)

        batch = phase.batch_size(length)
        model = blueprint.model
        result = choose(model, length, batch, config.mesh, len(devices), chip, compile_one)
        flops = train_step_flops(model, length, batch, CAUSAL)
        rows.append(_row(phase.number, length, batch, flops, result, chip))
        rows.sort(key=lambda row: (row["phase"], row["length"]))
        write_plan(path, {**head, "buckets": rows})
    print(table(rows, chip.hbm_bytes * (1 - MARGIN)))
    print(f"plan: wrote {path}")
    return 0


def _planned_before(path: Path, head: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of an interrupted plan for the same thing; of another plan, none."""
    if not path.exists():
        return []
    plan = read_plan(path)
    rows: list[dict[str, Any]] = plan.pop("buckets")
    return rows if plan == head else []


def topology_devices(topology: str) -> list[Any]:
    """Devices of absent TPUs, to compile for.

    Raises:
      UserError: no topology, an unknown one, or no compiler for it.
    """
    if not topology:
        raise UserError(f"mesh.topology is empty; {SLICES}")
    version, _, extent = topology.partition(":")
    if version in FLAT and extent.count("x") != 1:
        raise UserError(
            f"mesh.topology={topology!r}: slices of {version} have two dimensions, such as "
            f"{version}:16x16"
        )
    own_library = "TPU_LIBRARY_PATH" in os.environ
    if not own_library and (other := other_libtpu()):
        raise UserError(f"mesh.topology={topology!r} can't be compiled for: {other}")
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        described = topologies.get_topology_desc(platform="tpu", topology_name=topology)
    except (jax.errors.JaxRuntimeError, RuntimeError, ValueError) as error:
        reason = one_line(error)[:300]
        if find_spec("libtpu") is None and not own_library:
            raise UserError(
                f"mesh.topology={topology!r} can't be compiled for without libtpu ({reason}): "
                f"{libtpu_advice()}"
            ) from error
        raise UserError(
            f"mesh.topology={topology!r} is no slice that can be compiled for ({reason}); {SLICES}"
        ) from error
    return list(described.devices)


def _row(
    phase: int, length: int, batch: int, flops: float, result: Compiled, chip: Any
) -> dict[str, Any]:
    """A bucket's row of plan.json; bytes and seconds are of one chip in one step."""
    measured = sum(t.bytes for t in result.collectives.values())
    seconds = dataclasses.replace(result.cost, link_traffic=measured).seconds(chip)
    return {
        "phase": phase,
        "length": length,
        "batch": batch,
        "view": dataclasses.asdict(result.execution.view),
        "microbatches": result.execution.microbatches,
        "remat": result.execution.remat,
        "hbm_bytes": result.hbm_bytes,
        "hbm_bytes_estimated": result.cost.hbm_bytes,
        "model_flops": flops,
        "collectives": {kind: dataclasses.asdict(t) for kind, t in result.collectives.items()},
        "attention": result.kernel,
        "compile_seconds": round(result.seconds, 1),
        "seconds_at_peak": seconds,
        "bound": max(seconds, key=lambda name: seconds[name]),
    }


def table(rows: list[dict[str, Any]], limit: float) -> str:
    """The plan as a Markdown table."""
    lines = [
        f"| bucket | rows | view (data x context x tensor) | microbatches | remat | HBM of "
        f"{limit / GIB:.1f} GiB | collectives, GB | step at peak, s | bound by | compiled in, s |",
        "|---:|---:|---|---:|---|---:|---:|---:|---|---:|",
    ]
    for row in rows:
        view = row["view"]
        moved = sum(t["bytes"] for t in row["collectives"].values()) / 1e9
        lines.append(
            f"| {row['length']:,} | {row['batch']} | {view['data']} x {view['context']} x "
            f"{view['tensor']} | {row['microbatches']} | {row['remat']} | "
            f"{row['hbm_bytes'] / GIB:.2f} | {moved:.2f} | "
            f"{max(row['seconds_at_peak'].values()):.3f} | {row['bound']} | "
            f"{row['compile_seconds']:.0f} |"
        )
    return "\n".join(lines)
