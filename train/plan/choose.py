"""Chooses the execution of a bucket: the cheapest that fits, by what the compiler reports.

Executions are ranked by `cost.py` and compiled from the cheapest on that should fit; what the
compiler says of memory corrects the estimate for those that follow.
"""

import dataclasses
import itertools
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from lengthwise.common.errors import UserError
from lengthwise.model.config import REMAT_POLICIES
from lengthwise.model.spec import ModelSpec
from lengthwise.train.config import MeshConfig
from lengthwise.train.mesh import candidate_views
from lengthwise.train.plan.chips import GIB, Chip
from lengthwise.train.plan.collectives import Traffic, traffic
from lengthwise.train.plan.cost import Cost, cost
from lengthwise.train.programs.execution import BucketExecution

COMPILES = 3  # a bucket, at most
CAUTION = 1.05  # an estimate that is right on average is too low half the time
MARGIN = 0.08  # of the HBM that is left to the runtime
# "Used 21.3G of 15.75G hbm"; "the total memory required for HLO temporaries (38.75G) exceeds
# available HBM (15.75G)", which is without the arguments: more is needed than it says.
_TOO_MUCH = re.compile(r"([\d.]+)([KMGT])(?: of|\) exceeds available HBM)", re.ASCII)
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Compiled:
    """Compiler report on an execution."""

    execution: BucketExecution
    cost: Cost
    hbm_bytes: float | None  # a chip; None: the compiler said no number
    fits: bool
    collectives: dict[str, Traffic]
    kernel: str  # of attention
    seconds: float  # of compiling


def candidates(length: int, batch: int, mesh: MeshConfig, devices: int) -> list[BucketExecution]:
    """Every division of the batch over microbatches, views and policies."""
    executions = []
    parts = 1
    while parts <= batch:
        if batch % parts == 0:
            for view in candidate_views(length, batch // parts, mesh, devices):
                executions += [BucketExecution(view, parts, remat) for remat in REMAT_POLICIES]
        parts *= 2
    return executions


def choose(
    model: ModelSpec,
    length: int,
    batch: int,
    mesh: MeshConfig,
    devices: int,
    chip: Chip,
    compile_one: Callable[[BucketExecution], Any],
) -> Compiled:
    """The cheapest execution of a bucket that fits in a chip, after at most COMPILES compiles.

    Raises:
      UserError: none fits; names the bucket, by how much, and, by estimate, what would help.
    """
    limit = chip.hbm_bytes * (1 - MARGIN)
    costs = {e: cost(model, length, batch, e) for e in candidates(length, batch, mesh, devices)}
    if not costs:
        raise UserError(
            f"bucket {length}: {batch} rows can't be spread over {devices} devices; raise "
            "tokens_per_step or plan for fewer chips"
        )
    ranked = sorted(costs, key=lambda e: (max(costs[e].seconds(chip).values()), e.microbatches))
    smallest = min(costs, key=lambda e: costs[e].hbm_bytes)
    correction, tried = 1.0, dict[BucketExecution, Compiled]()
    for _ in range(COMPILES):
        fitting = [e for e in ranked if costs[e].hbm_bytes * correction <= limit]
        rest = [e for e in fitting or [smallest] if e not in tried]
        done = [r for r in tried.values() if r.fits]
        best = min((ranked.index(r.execution) for r in done), default=len(ranked))
        rest = [e for e in rest if ranked.index(e) < best]
        if not rest:
            break
        result = compiled(rest[0], costs[rest[0]], limit, compile_one)
        tried[rest[0]] = result
        if result.hbm_bytes is not None:
            correction = result.hbm_bytes / result.cost.hbm_bytes
            if not result.fits:
                correction *= CAUTION
    fit = [r for r in tried.values() if r.fits]
    if not fit:
        raise UserError(
            _does_not_fit(model, length, batch, mesh, devices, chip, list(tried.values()))
        )
    return min(fit, key=lambda r: ranked.index(r.execution))


def compiled(
    execution: BucketExecution,
    estimate: Cost,
    limit: float,
    compile_one: Callable[[BucketExecution], Any],
) -> Compiled:
    """Compiles one execution; running out of memory is an answer, not an error."""
    begin = time.perf_counter()
    try:
        program = compile_one(execution)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        excess = _TOO_MUCH.search(str(error))
        needed = float(excess[1]) * _UNITS[excess[2]] if excess else None
        seconds = time.perf_counter() - begin
        return Compiled(execution, estimate, needed, False, {}, "", seconds)
    memory = program.memory_analysis()
    needed = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
    text = program.as_text()
    kernel = "splash" if "tpu_custom_call" in text else "jax"
    seconds = time.perf_counter() - begin
    return Compiled(execution, estimate, needed, needed <= limit, traffic(text), kernel, seconds)


def _does_not_fit(
    model: ModelSpec,
    length: int,
    batch: int,
    mesh: MeshConfig,
    devices: int,
    chip: Chip,
    tried: Sequence[Compiled],
) -> str:
    """By how much, and what would make it fit."""
    limit = chip.hbm_bytes * (1 - MARGIN)
    known = [r for r in tried if r.hbm_bytes is not None]
    if not known:
        return (
            f"bucket {length} does not fit in the {limit / GIB:.1f} GiB of a {chip.kind}; plan for "
            "more chips, raise mesh.tensor, or lower tokens_per_step"
        )
    nearest = min(known, key=lambda r: r.hbm_bytes or 0)
    assert nearest.hbm_bytes is not None
    over = nearest.hbm_bytes - limit
    # By the one that was estimated lowest: where nothing fits, its like is what comes nearest.
    lowest = min(known, key=lambda r: r.cost.hbm_bytes)
    assert lowest.hbm_bytes is not None
    correction = CAUTION * lowest.hbm_bytes / lowest.cost.hbm_bytes
    return (
        f"bucket {length} needs {nearest.hbm_bytes / GIB:.2f} GiB a chip at least, "
        f"{over / GIB:.2f} GiB more than the {limit / GIB:.2f} GiB to be had on {chip.kind} "
        f"({nearest.execution.view}, {nearest.execution.microbatches} microbatches, remat "
        f"{nearest.execution.remat}); "
        + _would_fit(model, length, batch, mesh, devices, chip, limit / correction)
    )


def _would_fit(
    model: ModelSpec,
    length: int,
    batch: int,
    mesh: MeshConfig,
    devices: int,
    chip: Chip,
    limit: float,
) -> str:
    """The fewest chips, in doublings of `devices`, and the most tokens a step, in halvings, with
    which an execution is estimated to fit.

    limit: bytes of a chip that an estimate may have.
    """

    def fits(rows: int, chips: int) -> bool:
        executions = candidates(length, rows, mesh, chips)
        return any(cost(model, length, rows, e).hbm_bytes <= limit for e in executions)

    most = chip.slice_chips * mesh.slices
    doublings = itertools.takewhile(lambda n: n <= most, (devices << k for k in itertools.count(1)))
    chips = next((n for n in doublings if fits(batch, n)), None)
    halvings = (batch >> k for k in range(1, batch.bit_length()) if batch % (1 << k) == 0)
    rows = next((n for n in halvings if fits(n, devices)), None)
    ways = [f"on {chips} chips"] if chips else []
    ways += [f"with tokens_per_step={rows * length}"] if rows else []
    if ways:
        return f"by estimate it fits {' or '.join(ways)}"
    return (
        f"by estimate neither more chips make it fit, up to the {most} of mesh.slices={mesh.slices}"
        ", nor fewer tokens_per_step; raise mesh.tensor, or take a smaller model or shorter buckets"
    )
