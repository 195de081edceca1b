"""Device side of a run: initial states, operands and batches, placed as its blueprint says."""

import functools
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lengthwise.common.trees import as_tree
from lengthwise.data.batches.pipeline import HostBatch
from lengthwise.model import transformer
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.spec import ModelSpec
from lengthwise.train.checkpoint.pretrained import check_folder, named_folder
from lengthwise.train.config import TrainConfig
from lengthwise.train.mesh import LocalSlice, local_slice, put_batch, put_everywhere
from lengthwise.train.phases import Phase, Phases
from lengthwise.train.programs.blueprint import Blueprint
from lengthwise.train.programs.execution import BucketExecution, Key
from lengthwise.train.programs.inputs import step_inputs
from lengthwise.train.rules.data_steps import EVERY_DATA_STEP, DataSteps
from lengthwise.train.step.optimizer import check_no_decay, make_optimizer
from lengthwise.train.step.update import StepInputs, TrainState


def check_settings(config: TrainConfig, platform: str) -> None:
    """Raises UserError for settings that no data can put right, before any is read."""
    config.tracking.check()
    for schedule in config.rate_schedules:
        make_optimizer(schedule.optimizer, schedule.steps)
    # The size of the vocabulary is not known yet; nothing here depends on it.
    model = ModelSpec.of(config.model, vocab_size=2, platform=platform)
    if config.optimizer.no_decay:
        params = jax.eval_shape(functools.partial(transformer.init_params, model), np.uint32(0))
        check_no_decay(params, config.optimizer.no_decay)
    for phase in config.phases:
        model.check(phase.layout.smallest_bucket)
    folder = named_folder(config.train.init_from)
    if folder is not None and model.vocab_rows:  # without it, the tokenizer tells the rows
        check_folder(folder, model)


class Setup:
    """The data of a run and the blueprint of its programs; no parameter is made yet.

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
        phases.check(config.train)
        config.profile.check(phases.total_steps)
        config.anomaly.check()
        self.config = config
        self.phases = phases
        self._device_tables: dict[tuple[RopeScaling, RopeScaling, int], transformer.Tables] = {}
        vocab_size = phases.store.manifest.vocab_size
        self.blueprint = Blueprint(config, phases.phases, vocab_size, devices, executions)

    @functools.cached_property
    def local_slices(self) -> dict[Key, LocalSlice]:
        """Rows and columns of each (phase, bucket)'s batch that this process reads."""
        return {
            key: local_slice(sharding, self.blueprint.batch_shape(key))
            for key, sharding in self.blueprint.shardings.items()
        }

    def initial_state(self) -> TrainState:
        """Random parameters, born sharded, and a fresh optimizer state."""
        init = self.blueprint.init_params
        make = jax.jit(lambda seed: self._fresh(init(seed)), out_shardings=self._placements)
        return make(np.uint32(self.config.resolved_seeds.initialization))

    def state_from(self, params: object) -> TrainState:
        """A fresh optimizer state over `params`."""
        return jax.jit(self._fresh, out_shardings=self._placements)(params)

    def completed(self, weights: dict[str, Any]) -> dict[str, Any]:
        """`weights`, with random ones for position schemes where those are missing."""
        abstract, init = self.blueprint.abstract_params, self.blueprint.init_params
        if weights.keys() == abstract.keys():
            return weights
        placements = jax.tree.map(lambda x: x.sharding, abstract["positions"])
        make = jax.jit(lambda seed: init(seed)["positions"], out_shardings=placements)
        return {**weights, "positions": make(np.uint32(self.config.resolved_seeds.initialization))}

    def _fresh(self, params: object) -> TrainState:
        return TrainState(params=params, opt_state=self.blueprint.optimizer.init(params))

    @property
    def _placements(self) -> Any:
        return jax.tree.map(lambda x: x.sharding, self.blueprint.abstract_state)

    def inputs(self, phase: Phase, step: int, length: int) -> StepInputs:
        """Operands of the step after `step` optimizer steps, its tables on the devices."""
        return step_inputs(phase, step, length, self.config.resolved_seeds.dropout, self._tables)

    def _tables(
        self, scaling: RopeScaling, length: int, trained: RopeScaling = UNSCALED
    ) -> transformer.Tables:
        applied = (self.config.model.rope_scaling, trained, scaling)
        follows = any(each.follows_length for each in applied)
        key = (scaling, trained, length if follows else 0)
        if key not in self._device_tables:
            tables = self.blueprint.tables(scaling, length, trained)
            self._device_tables[key] = put_everywhere(tables, self.blueprint.home)
        return self._device_tables[key]

    def device_batches(
        self, start_step: int, data_steps: DataSteps = EVERY_DATA_STEP
    ) -> Generator[tuple[Phase, HostBatch, dict[str, jax.Array]]]:
        """Batches on the devices, from `start_step` to the end of the run."""
        for phase, batch in self.host_batches(start_step, data_steps):
            key = (phase.number, batch.length)
            sharding, shape = self.blueprint.shardings[key], self.blueprint.batch_shape(key)
            yield phase, batch, put_batch(batch.arrays, self.local_slices[key], sharding, shape)

    def host_batches(
        self, start_step: int, data_steps: DataSteps
    ) -> Generator[tuple[Phase, HostBatch]]:
        """The part of each batch that this process reads, before it is on the devices."""
        slices = self.local_slices

        def rows_and_columns(number: int, length: int) -> tuple[np.ndarray, tuple[slice, ...]]:
            part = slices[number, length]
            return part.rows, part.columns

        return self.phases.batches(start_step, rows_and_columns, self.config.train, data_steps)

    def planned_shares(self) -> list[dict[str, float]]:
        """The share of each phase in "tokens" and "FLOPs" of all planned steps."""
        phases = self.phases.phases
        spent: dict[str, list[float]] = {
            "tokens": [phase.config.steps * phase.config.tokens_per_step for phase in phases],
            "FLOPs": [
                sum(
                    count * self.blueprint.step_flops(phase, length)
                    for length, count in phase.schedule.visits(phase.config.steps).items()
                )
                for phase in phases
            ],
        }
        return [
            {name: of[phase.number] / sum(of) for name, of in spent.items()} for phase in phases
        ]

    def meaning(self, step: int) -> dict[str, Any]:
        """Meaning of the weights after `step` steps, see `train.checkpoint.meaning`."""
        return {
            "tokens": self.phases.store.manifest.token_meaning,
            "model": self.config.model.meaning(),
            "rope_scaling": as_tree(self.phases.scaling_after(step)),
        }

    def fingerprint(self) -> str:
        return f"{self.phases.fingerprint()}-{self.config.resolved_seeds.of_parameters}"
