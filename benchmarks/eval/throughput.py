"""Throughput of scoring against that of training, by length, in turns.

python -m lengthwise.benchmarks.eval.throughput [--rounds=5] [--config.FIELD=...]

A training step of a bucket, and scores of random tokens in rows of that length: of all targets, of
the last 16 (same-target losses), and of these under a Lambda mask of 128 tokens. Tokens a second
are of wall time; ratios by round, of wall time and of processor time, the latter for a machine that
others use as well.
"""

import functools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags

from lengthwise.app.command import flag_command
from lengthwise.benchmarks.workload import Workload, median_interval
from lengthwise.common.progress import ProgressBar
from lengthwise.configs.bytes import get_config
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.inference.inference import Batching, Inference, device_tokens
from lengthwise.eval.inference.model_scorer import BoundModel
from lengthwise.eval.inference.programs import Architecture
from lengthwise.eval.inference.scorer import Setting, score
from lengthwise.model.attention.masks import Mask
from lengthwise.model.positions.rope_scaling import UNSCALED

_ROUNDS = flags.DEFINE_integer("rounds", 5, "Interleaved repetitions.", lower_bound=3)
_AT_ONCE = flags.DEFINE_integer(
    "at_once", 0, "Tokens of a device batch of scoring; 0: as a run has them.", lower_bound=0
)
_LAST = 16  # targets of a row
_LAMBDA = Setting(mask=Mask(window=128, sinks=4))
WAYS = {  # name -> (setting, targets of a row; None: all)
    "all targets": (Setting(), None),
    f"last {_LAST}": (Setting(), _LAST),
    f"last {_LAST}, lambda": (_LAMBDA, _LAST),
}


def default_config() -> ConfigDict:
    config = get_config()
    config.phase.layout.largest_bucket = 4096
    config.phase.layout.smallest_bucket = 128
    config.phase.layout.mixture = "equal_tokens"
    config.phase.layout.shares = ()
    return config


_CONFIG = config_flags.DEFINE_config_dict("config", default_config())


def bound_model(workload: Workload) -> BoundModel:
    """The model of the workload as a run scores it on this machine."""
    blueprint = workload.setup.blueprint
    architecture = Architecture(blueprint.model, blueprint.abstract_params, blueprint.data_sharding)
    at_once = _AT_ONCE.value or device_tokens()
    batching = Batching(EvalConfig().tokens_per_call, seed=0, pad=0, at_once=at_once)
    params = jax.tree.map(jnp.copy, workload.state.params)  # a step donates the state
    return BoundModel(Inference(architecture, batching), params, UNSCALED)


def spent(work: Callable[[], object]) -> np.ndarray:
    """(wall, processor) seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return np.array([time.perf_counter() - wall, time.process_time() - processor])


def main(_: list[str]) -> None:
    workload = Workload(_CONFIG.value)
    tokens = workload.phase.config.tokens_per_step
    model = bound_model(workload)
    rng = np.random.default_rng(0)
    print("| length | pass | tokens/s | of training's (95 %) | by processor time (95 %) |")
    print("|---|---|---|---|---|")
    for length in ProgressBar(workload.lengths, desc="lengths"):
        scored = max(tokens, _AT_ONCE.value)  # whole device batches
        rows = rng.integers(0, 256, (scored // length, length + 1))
        sizes = dict.fromkeys(WAYS, scored) | {"training": tokens}
        passes: dict[str, Callable[[], object]] = {
            "training": functools.partial(workload.seconds, [length])
        }
        for name, (setting, last) in WAYS.items():
            passes[name] = functools.partial(score, model(setting), rows, last=last)
        for work in passes.values():
            work()  # compiles
        rounds = [
            {name: spent(work) for name, work in passes.items()} for _ in range(_ROUNDS.value)
        ]
        for name in passes:
            rate = sizes[name] / np.median([each[name][0] for each in rounds])
            of_training = (
                sizes[name] / tokens * np.array([each["training"] / each[name] for each in rounds])
            )
            cells = [
                "{:.2f} ({:.2f}-{:.2f})".format(*median_interval(of_training[:, k].tolist()))
                for k in (0, 1)
            ]
            print(f"| {length:,} | {name} | {rate:,.0f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    flag_command.run(main)
