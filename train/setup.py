"""What follows from a run's settings: mesh views, placements, compiled steps, device batches."""

import dataclasses
import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from data.pipeline import HostBatch, ReadingConfig
from errors import UserError
from model import transformer
from model.backends.mesh import on_view, split_over
from model.flops import train_step_flops
from model.masks import CAUSAL
from model.positions.rope_scaling import UNSCALED, RopeScaling
from model.positions.stretched import drawn_positions, drawn_scale
from model.settings import ModelSettings
from train.checkpoint import abstract_like
from train.execution import BucketExecution, Key, default_executions
from train.loop import LoopConfig
from train.mesh import (
    LocalSlice,
    MeshConfig,
    batch_sharding,
    default_view,
    device_order,
    local_slice,
    mesh_view,
    parameter_shardings,
    put_batch,
    replicated,
)
from train.optimizer import OptimizerConfig, make_optimizer
from train.phases import Phase, PhaseConfig, Phases
from train.positions import training_positions
from train.profile import ProfileConfig
from train.step import StepConfig, StepInputs, TrainState, make_train_step
from train.stopping import StoppingConfig

BATCH_ARRAYS = ("inputs", "positions", "segment_ids", "targets")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Settings of a run."""

    seed: int
    model: ModelSettings
    optimizer: OptimizerConfig
    phases: tuple[PhaseConfig, ...]
    loop: LoopConfig
    reading: ReadingConfig
    stopping: StoppingConfig
    mesh: MeshConfig
    compile: str  # one of train.compiled.COMPILE_MODES
    profile: ProfileConfig
    compilation_cache: str  # see train.compilation_cache.enable_compilation_cache
    init_from: str  # a work directory to take the first weights from; empty: random ones


class Setup:
    """What follows from settings, phases and devices alone: no parameter is made yet.

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
        self.config = config
        self.phases = phases
        self.devices = device_order(devices, config.mesh)
        self.platform = self.devices[0].platform
        self.vocab_size = phases.store.manifest.vocab_size
        self.optimizer = make_optimizer(config.optimizer, phases.total_steps)
        self._tables: dict[tuple[RopeScaling, RopeScaling, int], transformer.Tables] = {}
        # As it computes the longest sequences; the parameters are those of any length.
        self.model = config.model.resolve(self.vocab_size, self.platform, phases.l_train)
        self._check_stretched_positions()
        self._init = functools.partial(transformer.init_params, self.model)
        abstract = jax.eval_shape(self._init, jax.ShapeDtypeStruct((), np.uint32))
        self.executions = executions or default_executions(
            phases.phases, config.mesh, config.model.remat, len(self.devices)
        )
        for (number, length), execution in self.executions.items():
            batch = self._shape(number, length)[0]
            execution.check(length, batch, config.mesh, len(self.devices))
        # Any view gives the same physical placement; the longest bucket's is as good as another.
        last = phases.phases[-1]
        self.home = self.mesh((last.number, max(last.lengths)))
        axes = transformer.logical_axes(self.model)
        self.abstract_params: Any = abstract_like(
            abstract, parameter_shardings(axes, abstract, self.home)
        )
        opt_state = jax.eval_shape(self.optimizer.init, abstract)
        self.abstract_state = TrainState(
            params=self.abstract_params, opt_state=self._place_opt_state(opt_state)
        )
        for phase in phases.phases:  # a scaling that the model can't have is an error at once
            self.tables(phase.config.rope_scaling, max(phase.lengths))

    def _place_opt_state(self, opt_state: object) -> object:
        """Moments live where their parameters do; counters everywhere."""
        params_structure: Any = jax.tree.structure(self.abstract_params)

        def is_params_like(node: object) -> bool:
            return bool(jax.tree.structure(node) == params_structure)

        def place(node: Any) -> object:
            if is_params_like(node):
                return jax.tree.map(lambda _, p: p, node, self.abstract_params)
            return jax.ShapeDtypeStruct(node.shape, node.dtype, sharding=replicated(self.home))

        return jax.tree.map(place, opt_state, is_leaf=is_params_like)

    def mesh(self, key: Key) -> jax.sharding.Mesh:
        """The view of the devices that a (phase, bucket) is computed on."""
        return mesh_view(self.executions[key].view, self.devices)

    def data_sharding(self, batch: int, length: int) -> jax.sharding.NamedSharding:
        """Where a [batch, length] array lives that is no training batch."""
        view = default_view(length, batch, self.config.mesh, len(self.devices))
        return batch_sharding(mesh_view(view, self.devices))

    @functools.cached_property
    def shardings(self) -> dict[tuple[int, int], jax.sharding.NamedSharding]:
        """The sharding of the batch of each (phase, bucket)."""
        return {key: batch_sharding(self.mesh(key)) for key in self.executions}

    @functools.cached_property
    def held(self) -> dict[tuple[int, int], LocalSlice]:
        """What of each (phase, bucket)'s batch this process reads."""
        return {
            (number, length): local_slice(sharding, self._shape(number, length))
            for (number, length), sharding in self.shardings.items()
        }

    def _shape(self, number: int, length: int) -> tuple[int, int]:
        return self.phases.phases[number].batch_size(length), length

    def initial_state(self) -> TrainState:
        """Random parameters, born sharded, and a fresh optimizer state."""
        make = jax.jit(
            lambda seed: self._fresh(self._init(seed)),
            out_shardings=jax.tree.map(lambda x: x.sharding, self.abstract_state),
        )
        return make(np.uint32(self.config.seed))

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
        return {**weights, "positions": make(np.uint32(self.config.seed))}

    def _fresh(self, params: object) -> TrainState:
        return TrainState(params=params, opt_state=self.optimizer.init(params))

    def _check_stretched_positions(self) -> None:
        for phase in self.phases.phases:
            kind = phase.config.positions.kind
            phase.config.positions.check(max(phase.lengths))
            wanted = "clex" if kind == "clex" else "rope"
            others = [s.name for s in self.model.schemes if s.reads_positions and s.name != wanted]
            if kind != "none" and (others or self.model.randomized):
                raise UserError(
                    f"phase.positions.kind={kind!r} stretches positions of {wanted!r}, but the "
                    f"model has {self.model.position_scheme!r}; leave it 'none'"
                )

    def tables(
        self, scaling: RopeScaling, length: int, trained: RopeScaling = UNSCALED
    ) -> transformer.Tables:
        """The tables of the position schemes at a length, on the devices."""
        follows = scaling.follows_length or trained.follows_length
        key = (scaling, trained, length if follows else 0)
        if key not in self._tables:
            tables = transformer.position_tables(self.model, scaling, trained, length)
            self._tables[key] = jax.device_put(tables, replicated(self.home))
        return self._tables[key]

    def step_inputs(self, phase: Phase, step: int) -> StepInputs:
        length = phase.schedule.bucket(step - phase.first_step)
        scaling, stretched = phase.config.rope_scaling, phase.config.positions
        inputs = StepInputs(
            step=np.int32(step),
            seed=np.uint32(self.config.seed),
            tables=self.tables(scaling, length),
        )
        drawn = (stretched, self.config.seed, step, max(phase.lengths), length)
        if stretched.kind == "e2_llm":
            scale, offset = drawn_scale(*drawn)
            tables = self.tables(RopeScaling("linear", float(scale)), length, scaling)
            return dataclasses.replace(inputs, tables=tables, offset=np.int32(offset))
        if stretched.kind == "clex":
            factor, positions = drawn_positions(*drawn)
            tables = {**inputs.tables, "clex": np.float32(factor)}
            return dataclasses.replace(inputs, tables=tables, positions=positions)
        return inputs

    def compile_step(self, key: tuple[int, int]) -> Callable:
        """The compiled step of (phase number, length)."""
        number, length = key
        phase = self.phases.phases[number]
        sharding = self.shardings[key]
        execution = self.executions[key]
        segmented = phase.layout.buckets[length].segmented
        model = dataclasses.replace(self.config.model, remat=execution.remat).resolve(
            self.vocab_size,
            self.platform,
            length,
            scaling=phase.config.rope_scaling,
            segmented=segmented,
            row_devices=execution.view.context,
        )

        def losses(
            params: transformer.Params,
            batch: dict[str, jax.Array],
            inputs: StepInputs,
            key: jax.Array | None,
        ) -> tuple[jax.Array, jax.Array]:
            segment_ids_BL = batch["segment_ids"] if segmented else None
            positions_BL = training_positions(
                model,
                phase.config.positions,
                batch["positions"],
                segment_ids_BL,
                inputs.offset,
                inputs.positions,
                key,
            )
            return transformer.target_losses(
                model,
                params,
                batch["inputs"],
                batch["targets"],
                positions_BL=positions_BL,
                segment_ids_BL=segment_ids_BL,
                tables=inputs.tables,
                mask=CAUSAL,
                key=key,
            )

        def penalty(params: transformer.Params, key: jax.Array | None) -> jax.Array | float:
            return 0.0 if key is None else transformer.position_penalty(model, params, key, length)

        step = make_train_step(
            losses,
            penalty,
            self.optimizer,
            StepConfig(
                microbatches=execution.microbatches,
                z_loss=self.config.optimizer.z_loss,
                random=model.random or phase.config.positions.kind == "pose",
                checksum=self.config.loop.checksums,
            ),
        )
        everywhere = replicated(self.mesh(key))
        state = on_view(self.abstract_state, self.mesh(key))
        batch = {
            name: jax.ShapeDtypeStruct(self._shape(*key), np.int32, sharding=sharding)
            for name in BATCH_ARRAYS
        }
        inputs = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere),
            self.step_inputs(phase, phase.first_step),
        )
        state_shardings = jax.tree.map(lambda x: x.sharding, state)
        compiled = jax.jit(step, donate_argnums=0, out_shardings=(state_shardings, everywhere))
        with split_over(self.mesh(key)):
            return compiled.lower(state, batch, inputs).compile()

    def device_batches(
        self, start_step: int
    ) -> Generator[tuple[Phase, HostBatch, dict[str, jax.Array]]]:
        """Batches on the devices, from `start_step` to the end of the run."""
        held = self.held

        def slices(number: int, length: int) -> tuple[np.ndarray, slice]:
            part = held[number, length]
            return part.rows, part.columns

        for phase, batch in self.phases.batches(start_step, slices, self.config.reading):
            key = (phase.number, batch.length)
            arrays = put_batch(batch.arrays, held[key], self.shardings[key], self._shape(*key))
            yield phase, batch, arrays

    def step_flops(self, phase: Phase, length: int) -> float:
        """Analytic FLOPs of one step."""
        model = self.config.model.resolve(self.vocab_size, self.platform, length)
        return train_step_flops(model, length, phase.batch_size(length), CAUSAL)

    def fingerprint(self) -> str:
        return f"{self.phases.fingerprint()}-seed{self.config.seed}"
