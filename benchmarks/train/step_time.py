"""Step time by bucket, and the cost of switching buckets, compiling and waiting for data.

python -m lengthwise.benchmarks.train.step_time [--rounds=5] [--config.model.layers=4 ...]
"""

import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from absl import flags, logging
from ml_collections import ConfigDict, config_flags

from lengthwise.app.command import flag_command
from lengthwise.benchmarks.workload import Workload, median_interval
from lengthwise.common.progress import ProgressBar
from lengthwise.configs import base
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.loop.start import train
from lengthwise.train.loop.state import TrainingRun
from lengthwise.train.machine.peak import measured_matmul_peak
from lengthwise.train.metrics.writer import CompileCounter, read_rows

_ROUNDS = flags.DEFINE_integer("rounds", 5, "Interleaved repetitions.", lower_bound=3)
_STEPS = flags.DEFINE_integer("steps", 2, "Steps of each bucket in a round.", lower_bound=1)
_LOOP_STEPS = flags.DEFINE_integer("loop_steps", 24, "Steps of the real loop.", lower_bound=4)


def default_config() -> ConfigDict:
    config = base.get_config()
    config.phase.tokens_per_step = 4096
    config.phase.layout.largest_bucket = 1024
    config.phase.layout.mixture = "equal_tokens"
    return config


_CONFIG = config_flags.DEFINE_config_dict("config", default_config())


def main(_: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)  # Orbax tells of every save
    config = _CONFIG.value
    config.phase.steps = _LOOP_STEPS.value
    config.optimizer.warmup_steps = 1
    config.train.eval_every = 0
    config.train.log_every = 1
    config.train.checkpoint_every = _LOOP_STEPS.value
    config.train.compile = "ahead"
    device = jax.devices()[0]
    everything = CompileCounter()
    with everything:
        workload = Workload(config)
        before_steps = everything.count
        dtype = workload.setup.blueprint.model.compute_dtype
        table(workload, device, dtype)
    peaks = 1  # the matmul of the peak measurement
    print(
        f"compiles: {len(workload.lengths)} buckets, {len(workload.steps)} train steps compiled; "
        f"after the first step {everything.count - before_steps - peaks} (whole process, the peak "
        "matmul left out)"
    )
    real_loop(workload)


def table(workload: Workload, device: jax.Device, dtype: str) -> None:
    """Prints the time of each bucket, then of a mixed schedule against their sum."""
    rng = np.random.default_rng(0)
    for length in workload.lengths:
        workload.seconds([length])  # warm
    peak = measured_matmul_peak(device, dtype)
    single: dict[int, list[float]] = {length: [] for length in workload.lengths}
    ratios = []
    for _ in ProgressBar(range(_ROUNDS.value), desc="rounds"):
        total = 0.0
        for length in workload.lengths:
            seconds = workload.seconds([length] * _STEPS.value)
            single[length].append(seconds / _STEPS.value)
            total += seconds
        mixed = rng.permutation(np.repeat(workload.lengths, _STEPS.value)).tolist()
        ratios.append(workload.seconds(mixed) / total)
    print(f"{device.device_kind}, {dtype}, matmul peak {peak / 1e9:,.0f} GFLOP/s")
    print(
        f"{'bucket':>7} {'ms/step':>9} {'95 %':>17} {'tokens/s':>10} {'GFLOP/s':>9} {'of peak':>8}"
    )
    tokens = workload.phase.config.tokens_per_step
    for length in workload.lengths:
        seconds, low, high = median_interval(single[length])
        rate = workload.flops(length) / seconds
        print(
            f"{length:>7} {seconds * 1e3:>9.1f} {low * 1e3:>8.1f}-{high * 1e3:<8.1f} "
            f"{tokens / seconds:>10,.0f} {rate / 1e9:>9.1f} {rate / peak:>8.1%}"
        )
    ratio, low, high = median_interval(ratios)
    print(f"mixed schedule / sum of single buckets: {ratio:.3f} ({low:.3f}-{high:.3f})")


def real_loop(workload: Workload) -> None:
    """Prints stalls and compilations of the real loop, with logging and checkpoints."""
    with tempfile.TemporaryDirectory() as directory:
        workdir = Path(directory)
        checkpoints = Checkpoints(workdir / "checkpoints")
        start = time.perf_counter()
        state = train(
            TrainingRun(
                workload.setup,
                workdir,
                checkpoints,
                claim=lambda: None,
                evaluate=lambda params, step: {"stopping_score": 0.0},
                prepare_evaluation=lambda: None,
                peak_flops=1.0,
            )
        )
        checkpoints.close()
        *rows, end = read_rows(workdir / "metrics.jsonl")
        rows = [row for row in rows if row["kind"] == "train"][2:]
        wait = sum(row["data_wait_seconds"] for row in rows)
        busy = sum(row["seconds"] for row in rows)
        print(
            f"real loop, {state.step} steps in {time.perf_counter() - start:.1f} s: "
            f"data wait {wait / busy:.2%} of step time, "
            f"{end['compiles_after_first_step']} compiles after the first step"
        )


if __name__ == "__main__":
    flag_command.run(main)
