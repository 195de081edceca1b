"""The workload of the benchmarks: real steps of a real run, without a work directory."""

import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from lengthwise.configs.resolve import load
from lengthwise.data.batches.assemble import assemble_stretches
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.store.token_store import TokenStore
from lengthwise.train.mesh import put_batch
from lengthwise.train.phases import Phase, Phases
from lengthwise.train.programs.compiled import CompiledSteps
from lengthwise.train.programs.setup import Setup
from lengthwise.train.step.update import TrainState

STORE = Path("runs/benchmark-store")


class Workload:
    """The compiled steps of a config, with one batch of each bucket on the devices."""

    def __init__(self, config: ConfigDict, batches: int = 4, store: Path = STORE):
        experiment = load(config, None)
        token_store = prepare(experiment.data, store)
        phases = Phases(experiment.phases, token_store, experiment.resolved_seeds)
        self.setup = Setup(experiment, phases, jax.devices())
        self.phase: Phase = self.setup.phases.phases[0]
        self.lengths = self.phase.schedule.lengths
        keys = [(0, length) for length in self.lengths]
        self.steps = CompiledSteps(self.setup.blueprint.compile_step, keys, ahead=True)
        self.state: TrainState = self.setup.initial_state()
        self._inputs = self.setup.inputs(self.phase, 0, self.lengths[0])
        self._batches = {
            length: self._make(token_store, length, batches) for length in self.lengths
        }

    def _make(self, store: TokenStore, length: int, count: int) -> list[dict[str, jax.Array]]:
        key = (0, length)
        batch = self.phase.batch_size(length)
        held, sharding = self.setup.local_slices[key], self.setup.blueprint.shardings[key]
        rows = np.arange(batch * count) % self.phase.layout.buckets[length].rows
        return [
            put_batch(
                assemble_stretches(
                    store.in_memory, self.phase.layout, length, part[held.rows], held.columns
                ),
                held,
                sharding,
                (batch, length),
            )
            for part in np.split(rows, count)
        ]

    def seconds(self, lengths: Sequence[int]) -> float:
        """Wall time of one step for each of `lengths`, one after the other."""
        jax.block_until_ready(self.state)
        start = time.perf_counter()
        for number, length in enumerate(lengths):
            batches = self._batches[length]
            batch = batches[number % len(batches)]
            self.state, metrics = self.steps[0, length](self.state, batch, self._inputs)
            if number % 4 == 3:  # as the loop does, with a bounded queue of steps
                np.asarray(metrics["loss"])
        jax.block_until_ready(self.state)
        return time.perf_counter() - start

    def flops(self, length: int) -> float:
        """Analytic FLOPs of a step."""
        return self.setup.blueprint.step_flops(self.phase, length)


def median_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Median and a 95 % bootstrap interval over rounds."""
    array = np.asarray(values)
    rng = np.random.default_rng(seed)
    medians = np.median(rng.choice(array, (2000, array.size)), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(np.median(array)), float(low), float(high)
