"""What a row costs against its length: FLOPs, seconds, memory and cache, with fitted exponents.

python -m lengthwise.benchmarks.train.length_cost [--sections=cpu,planner] [--lengths=256,...]

cpu: training steps of one row on this machine: analytic FLOPs, median seconds of interleaved
rounds, the compiler's temporaries, keys and values of a cache. Nothing of it is a batch of many
rows: at equal tokens a step, temporaries grow little with the length.
planner: configs/dd.py:1b and :7b, a step of 2^20 tokens on v5p-128 (64 chips), by the analytic cost
that ranks executions: the cheapest that is estimated to fit. Nothing is compiled.

Exponents are slopes of least squares of the logarithms, with Student's 95 % intervals: of a sum of
a linear and a quadratic part they are a summary, and say so by their width.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags
from scipy.stats import linregress
from scipy.stats import t as student

from lengthwise.app.command import flag_command
from lengthwise.benchmarks.workload import Workload
from lengthwise.common.errors import UserError
from lengthwise.common.progress import ProgressBar
from lengthwise.configs import dd
from lengthwise.configs.bytes import get_config
from lengthwise.configs.resolve import load
from lengthwise.model.attention.masks import CAUSAL
from lengthwise.model.flops import train_step_flops
from lengthwise.model.spec import ModelSpec
from lengthwise.train.config import MeshConfig
from lengthwise.train.plan.chips import CHIPS, GIB
from lengthwise.train.plan.choose import MARGIN, candidates
from lengthwise.train.plan.cost import cost
from lengthwise.train.plan.shape import vocabulary

CHIP, DEVICES = CHIPS["TPU v5"], 64
TOKENS = 1 << 20  # of a planned step
SIZES = ("1b", "7b")
PLANNED = tuple(1 << k for k in range(11, 18))  # 2,048 to 131,072 tokens
_LENGTHS = flag_command.define_numbers(
    "lengths", [256, 512, 1024, 2048, 4096, 8192], "Tokens a row; of cpu.", lower_bound=64
)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Interleaved repetitions.", lower_bound=1)
_CONFIG = config_flags.DEFINE_config_dict("config", get_config())


def exponent(lengths: Sequence[int], costs: Sequence[float]) -> str:
    """The power of the length that costs grow with, and its interval, in words."""
    if len(lengths) < 3:
        return "-"
    fit = linregress(np.log(lengths), np.log(costs))
    half = float(student.ppf(0.975, len(lengths) - 2)) * fit.stderr
    return f"{fit.slope:.2f} ({fit.slope - half:.2f} to {fit.slope + half:.2f})"


def cache_bytes(model: ModelSpec, length: int) -> int:
    """Keys and values of a row in all layers."""
    size = 4 if model.compute_dtype == "float32" else 2
    return 2 * model.layers * model.num_kv_heads * model.head_dim * length * size


def _temporaries(step: Any) -> float:
    """Bytes of a compiled step beside its operands and results, by the compiler."""
    return float(step.memory_analysis().temp_size_in_bytes)


def one_row(config: ConfigDict, length: int) -> Workload:
    """Steps of one row of `length` tokens. Raises UserError: no power of two, no such rows."""
    if length & (length - 1):
        raise UserError(f"--lengths holds {length}; rows of a layout are powers of two")
    own = config.copy_and_resolve_references()
    own.phase.tokens_per_step = length
    own.phase.layout.smallest_bucket = own.phase.layout.largest_bucket = length
    own.phase.layout.mixture, own.phase.layout.shares = "natural", ()
    return Workload(own, batches=1)


def on_this_machine() -> None:
    """Prints the costs of one row by length."""
    lengths = sorted(set(_LENGTHS.value))
    works = {length: one_row(_CONFIG.value, length) for length in lengths}
    times: dict[int, list[float]] = {length: [] for length in lengths}
    for work in works.values():
        work.seconds(work.lengths)
    for _ in ProgressBar(range(_ROUNDS.value), desc="rounds"):
        for length, work in works.items():
            times[length].append(work.seconds(work.lengths))
    flops = [work.flops(length) for length, work in works.items()]
    seconds = [float(np.median(times[length])) for length in lengths]
    memory = [_temporaries(work.steps[0, length]) for length, work in works.items()]
    caches = [
        float(cache_bytes(work.setup.blueprint.model, length)) for length, work in works.items()
    ]
    print("| tokens a row | GFLOPs | ms | temporaries, MiB | cache, MiB |")
    print("|---|---|---|---|---|")
    for row in zip(lengths, flops, seconds, memory, caches, strict=True):
        length, of_flops, of_seconds, of_memory, of_cache = row
        print(
            f"| {length:,} | {of_flops / 1e9:.2f} | {1e3 * of_seconds:.0f} | "
            f"{of_memory / 2**20:.1f} | {of_cache / 2**20:.2f} |"
        )
    fits = [exponent(lengths, costs) for costs in (flops, seconds, memory, caches)]
    print(f"| exponent | {' | '.join(fits)} |")


def planned(size: str) -> None:
    """Prints the costs of a row of a size of configs/dd.py, by the planner's estimates."""
    config = load(dd.get_config(size), None)
    model = ModelSpec.of(config.model, vocabulary(config.data), "tpu")
    limit = CHIP.hbm_bytes * (1 - MARGIN)
    rows = []
    for length in PLANNED:
        batch = TOKENS // length
        executions = candidates(length, batch, MeshConfig(), DEVICES)
        costs = [cost(model, length, batch, each) for each in executions]
        fitting = [each for each in costs if each.hbm_bytes <= limit]
        if not fitting:
            continue
        best = min(fitting, key=lambda each: max(each.seconds(CHIP).values()))
        step = max(best.seconds(CHIP).values())
        rows.append(
            (
                length,
                float(train_step_flops(model, length, 1, CAUSAL)),
                step / batch,
                best.hbm_bytes,
                float(cache_bytes(model, length)),
            )
        )
    print(f"| {size}: tokens a row | TFLOPs | chip-ms at peak | HBM a chip, GiB | cache, MiB |")
    print("|---|---|---|---|---|")
    for length, flops, seconds, hbm, cache in rows:
        print(
            f"| {length:,} | {flops / 1e12:,.1f} | {1e3 * seconds * DEVICES:,.0f} | "
            f"{hbm / GIB:.1f} | {cache / 2**20:,.0f} |"
        )
    lengths = [row[0] for row in rows]
    fits = [exponent(lengths, [row[k] for row in rows]) for k in (1, 2, 4)]
    # All steps have the same tokens: what a chip holds is the plan's choice.
    print(f"| exponent | {fits[0]} | {fits[1]} | - | {fits[2]} |")
    by_length = {row[0]: row for row in rows}
    if {8192, 131_072} <= by_length.keys():
        short, long = by_length[8192], by_length[131_072]
        of_row = [long[k] / short[k] for k in (1, 2, 4)]
        print(
            f"\n{size}: a row of 131,072 tokens by one of 8,192: {of_row[0]:.1f} times the FLOPs, "
            f"{of_row[1]:.1f} times the time at peak, {of_row[2]:.1f} times the cache; a token "
            f"{of_row[0] / 16:.2f} times the FLOPs. Local exponent of the FLOPs there: "
            f"{math.log(of_row[0]) / math.log(16):.2f}\n"
        )


def by_planner() -> None:
    for size in SIZES:
        planned(size)


SECTIONS: dict[str, Callable[[], None]] = {"cpu": on_this_machine, "planner": by_planner}
_SECTIONS = flag_command.define_names("sections", [*SECTIONS], "What is measured.")


def main(_: list[str]) -> None:
    for name in _SECTIONS.value:
        SECTIONS[name]()


if __name__ == "__main__":
    flag_command.run(main)
