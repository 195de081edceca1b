"""A run's blueprint with its data and its machine: states, operands and batches on the devices."""

import functools
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lengthwise.data.batches.pipeline import HostBatch
from lengthwise.model import transformer
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.train.config import TrainConfig
from lengthwise.train.mesh import LocalSlice, local_slice, put_batch, put_everywhere
from lengthwise.train.phases import Phase, Phases
from lengthwise.train.programs.blueprint import Blueprint
from lengthwise.train.programs.execution import BucketExecution, Key
from lengthwise.train.rules.data_steps import EVERY_DATA_STEP, DataSteps
from lengthwise.train.step.update import TrainState


class Setup(Blueprint):
    """A blueprint with a store behind it: no parameter is made yet.

    Args:
      executions: how to compute each (phase, bucket); None: as the config says.
    """

    def __init__(
        self,
        config: TrainConfig,
        phases: Phases,
        devices: Sequence[jax.Device],
        executions: Mapping[Key, BucketExecution] | None = None,
    ):
        phases.check(config.reading)
        config.profile.check(phases.total_steps)
        config.anomaly.check()
        self.phases = phases
        self._tables: dict[tuple[RopeScaling, RopeScaling, int], transformer.Tables] = {}
        vocab_size = phases.store.manifest.vocab_size
        super().__init__(config, phases.phases, vocab_size, phases.total_steps, devices, executions)

    @functools.cached_property
    def held(self) -> dict[tuple[int, int], LocalSlice]:
        """What of each (phase, bucket)'s batch this process reads."""
        return {
            (number, length): local_slice(sharding, self._shape(number, length))
            for (number, length), sharding in self.shardings.items()
        }

    def initial_state(self) -> TrainState:
        """Random parameters, born sharded, and a fresh optimizer state."""
        make = jax.jit(
            lambda seed: self._fresh(self._init(seed)),
            out_shardings=jax.tree.map(lambda x: x.sharding, self.abstract_state),
        )
        return make(np.uint32(self.config.seeds.initialization))

    def state_from(self, params: object) -> TrainState:
        """A fresh optimizer state over given weights."""
        return jax.jit(
            self._fresh, out_shardings=jax.tree.map(lambda x: x.sharding, self.abstract_state)
        )(params)

    def completed(self, weights: dict[str, Any]) -> dict[str, Any]:
        """Weights, with random ones for position schemes where those are missing."""
        if weights.keys() == self.abstract_params.keys():
            return weights
        places = jax.tree.map(lambda x: x.sharding, self.abstract_params["positions"])
        make = jax.jit(lambda seed: self._init(seed)["positions"], out_shardings=places)
        return {**weights, "positions": make(np.uint32(self.config.seeds.initialization))}

    def _fresh(self, params: object) -> TrainState:
        return TrainState(params=params, opt_state=self.optimizer.init(params))

    def tables(
        self, scaling: RopeScaling, length: int, trained: RopeScaling = UNSCALED
    ) -> transformer.Tables:
        """The tables of the position schemes at a length, on the devices."""
        follows = scaling.follows_length or trained.follows_length
        key = (scaling, trained, length if follows else 0)
        if key not in self._tables:
            tables = super().tables(scaling, length, trained)
            self._tables[key] = put_everywhere(tables, self.home)
        return self._tables[key]

    def device_batches(
        self, start_step: int, data_steps: DataSteps = EVERY_DATA_STEP
    ) -> Generator[tuple[Phase, HostBatch, dict[str, jax.Array]]]:
        """Batches on the devices, from `start_step` to the end of the run."""
        held = self.held
        for phase, batch in self.host_batches(start_step, data_steps):
            key = (phase.number, batch.length)
            arrays = put_batch(batch.arrays, held[key], self.shardings[key], self._shape(*key))
            yield phase, batch, arrays

    def host_batches(
        self, start_step: int, data_steps: DataSteps
    ) -> Generator[tuple[Phase, HostBatch]]:
        """The same before they are on the devices: what this process holds of them."""
        held = self.held

        def slices(number: int, length: int) -> tuple[np.ndarray, tuple[slice, ...]]:
            part = held[number, length]
            return part.rows, part.columns

        return self.phases.batches(start_step, slices, self.config.reading, data_steps)

    def fingerprint(self) -> str:
        return f"{self.phases.fingerprint()}-{self.config.seeds.of_parameters}"
