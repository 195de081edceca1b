"""Placements and step programs of a run, from settings and devices alone: no data, no parameter.

The devices may be those of an absent machine, for which `train.plan` compiles.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax

from lengthwise.common.errors import UserError
from lengthwise.model import transformer
from lengthwise.model.attention.masks import CAUSAL
from lengthwise.model.flops import train_step_flops
from lengthwise.model.parallel.mesh import on_view, use_mesh
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.spec import ModelSpec
from lengthwise.train.config import TrainConfig
from lengthwise.train.mesh import (
    abstract_like,
    batch_sharding,
    default_view,
    device_order,
    mesh_view,
    parameter_shardings,
    replicated,
)
from lengthwise.train.phases import PhaseShape
from lengthwise.train.programs.execution import BucketExecution, Key, default_executions
from lengthwise.train.programs.inputs import step_inputs
from lengthwise.train.step.optimizer import make_optimizer, renewed
from lengthwise.train.step.positions import training_positions
from lengthwise.train.step.update import (
    StepConfig,
    StepInputs,
    TrainState,
    TrainStep,
    make_train_step,
)

BATCH_ARRAYS = ("inputs", "positions", "segment_ids", "targets")


class Blueprint:
    """Placements and compiled steps of a run.

    Args:
      executions: of each (phase, bucket); None: those of the config.

    Raises:
      UserError: settings that contradict each other, or a batch that the devices can't divide.
    """

    def __init__(
        self,
        config: TrainConfig,
        phases: Sequence[PhaseShape],
        vocab_size: int,
        devices: Sequence[jax.Device],
        executions: Mapping[Key, BucketExecution] | None = None,
    ):
        self.config = config
        self.phase_shapes = phases
        self.devices = device_order(devices, config.mesh)
        self.platform = self.devices[0].platform
        self.vocab_size = vocab_size
        first = config.rate_schedules[0]
        self.optimizer = make_optimizer(first.optimizer, first.steps)
        self.model = ModelSpec.of(config.model, vocab_size, self.platform)
        self.model.check_length(max(max(phase.lengths) for phase in phases))
        self._check_stretched_positions()
        self.init_params = functools.partial(transformer.init_params, self.model)
        abstract = jax.eval_shape(self.init_params, jax.ShapeDtypeStruct((), np.uint32))
        self.executions = executions or default_executions(
            phases, config.mesh, config.model.remat, len(self.devices)
        )
        for (number, length), execution in self.executions.items():
            batch, _ = self.batch_shape((number, length))
            execution.check(length, batch, config.mesh, len(self.devices))
        # Any view gives the same physical placement; the longest bucket's is as good as another.
        last = phases[-1]
        self.home = self.mesh((last.number, max(last.lengths)))
        axes = transformer.logical_axes(self.model)
        self.abstract_params: Any = abstract_like(
            abstract, parameter_shardings(axes, abstract, self.home)
        )
        opt_state = jax.eval_shape(self.optimizer.init, abstract)
        self.abstract_state = TrainState(
            params=self.abstract_params, opt_state=self._place_opt_state(opt_state)
        )
        for phase in phases:  # what the model can't compute is an error at once
            scaling = phase.config.rope_scaling
            transformer.position_tables(self.model, scaling, UNSCALED, max(phase.lengths))
            for length in phase.lengths:
                row_devices = self.executions[phase.number, length].view.context
                self.model.check(length, CAUSAL, scaling, phase.segmented(length), row_devices)

    def _place_opt_state(self, opt_state: object) -> object:
        """Places moments as their parameters, and replicates counters.

        Where an optimizer has moments of some parameters alone, the others are masked.
        """
        params_structure: Any = jax.tree.structure(self.abstract_params)

        def is_masked(node: object) -> bool:
            return isinstance(node, optax.MaskedNode)

        def is_params_like(node: object) -> bool:
            return bool(jax.tree.structure(node, is_leaf=is_masked) == params_structure)

        def place(node: Any) -> object:
            if is_params_like(node):
                return jax.tree.map(
                    lambda x, p: x if is_masked(x) else p,
                    node,
                    self.abstract_params,
                    is_leaf=is_masked,
                )
            return jax.ShapeDtypeStruct(node.shape, node.dtype, sharding=replicated(self.home))

        return jax.tree.map(place, opt_state, is_leaf=is_params_like)

    def mesh(self, key: Key) -> jax.sharding.Mesh:
        """Mesh view of the devices for a (phase, bucket)."""
        return mesh_view(self.executions[key].view, self.devices)

    def data_sharding(self, batch: int, length: int) -> jax.sharding.NamedSharding:
        """Sharding of a [batch, length] array that is no training batch, such as one of scoring."""
        view = default_view(length, batch, self.config.mesh, len(self.devices))
        return batch_sharding(mesh_view(view, self.devices))

    @functools.cached_property
    def shardings(self) -> dict[tuple[int, int], jax.sharding.NamedSharding]:
        """Sharding of the [B, L] batch of each (phase, bucket)."""
        return {key: batch_sharding(self.mesh(key)) for key in self.executions}

    def batch_shape(self, key: Key) -> tuple[int, int]:
        """(B, L) of the global batch of (phase number, length)."""
        number, length = key
        return self.phase_shapes[number].batch_size(length), length

    def _check_stretched_positions(self) -> None:
        for phase in self.phase_shapes:
            stretched = phase.config.positions
            stretched.check(max(phase.lengths))
            if stretched.kind == "none":
                continue
            read = [scheme for scheme in self.model.schemes if scheme.reads_positions]
            unsupported = [scheme.name for scheme in read if scheme.name not in stretched.schemes]
            if unsupported or self.model.positions.randomized:
                raise UserError(
                    f"phase.positions.kind={stretched.kind!r} is for positions of "
                    f"{' or '.join(stretched.schemes)}, but the model has "
                    f"{self.model.position_scheme!r}; leave it 'none'"
                )
            for scheme in read:
                if stretched.target_length > scheme.longest:
                    raise UserError(
                        f"phase.positions.target_length={stretched.target_length} is more than the "
                        f"{scheme.longest} positions of {scheme.name!r}; lower it, or widen those"
                    )

    def tables(
        self, scaling: RopeScaling, length: int, trained: RopeScaling = UNSCALED
    ) -> transformer.Tables:
        """Host tables of the position schemes at a length."""
        return transformer.position_tables(self.model, scaling, trained, length)

    def train_step(self, key: Key) -> TrainStep:
        """The train step of (phase number, length): a pure function, see `make_train_step`."""
        number, length = key
        phase = self.phase_shapes[number]
        execution = self.executions[key]
        segmented = phase.segmented(length)
        model = dataclasses.replace(self.model, remat=execution.remat)
        schedule = self.config.rate_schedule(number)
        optimizer = make_optimizer(schedule.optimizer, schedule.steps)

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
                # Drawn ones are as many as a row has tokens: padding is a segment of its own.
                batch["segment_ids"] if model.positions.randomized else segment_ids_BL,
                inputs.offset,
                inputs.positions,
                key,
                batch["rows"],
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
                rows_B=batch["rows"],
            )

        def penalty(params: transformer.Params, key: jax.Array | None) -> jax.Array | float:
            return 0.0 if key is None else transformer.position_penalty(model, params, key, length)

        def renew(params: transformer.Params, state: Any) -> Any:
            of = phase.config
            fresh: Any = optimizer.init(params)
            return renewed(state, fresh, moments=of.moments == "new", schedule=of.rate.restart)

        return make_train_step(
            losses,
            penalty,
            optimizer,
            StepConfig(
                microbatches=execution.microbatches,
                z_loss=self.config.optimizer.z_loss,
                random=model.random or phase.config.positions.random,
                checksum=self.config.train.checksums,
                guarded=self.config.anomaly.skips,
            ),
            renew if number > 0 and phase.config.renews else None,
        )

    def compile_step(self, key: Key) -> Callable:
        """The compiled step of (phase number, length); donates the state."""
        return self.lower_step(key).compile()

    def lower_step(self, key: Key) -> jax.stages.Lowered:
        """The step of `compile_step`, not yet compiled."""
        with use_mesh(self.mesh(key)):
            return self.trace_step(key).lower()

    def trace_step(self, key: Key) -> jax.stages.Traced:
        """The step of `compile_step`, traced and not yet lowered."""
        number, length = key
        phase = self.phase_shapes[number]
        sharding = self.shardings[key]
        everywhere = replicated(self.mesh(key))
        state = on_view(self.abstract_state, self.mesh(key))
        batch = {
            name: jax.ShapeDtypeStruct(self.batch_shape(key), np.int32, sharding=sharding)
            for name in BATCH_ARRAYS
        }
        inputs = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere),
            step_inputs(
                phase, phase.first_step, length, self.config.resolved_seeds.dropout, self.tables
            ),
        )
        state_shardings = jax.tree.map(lambda x: x.sharding, state)
        compiled = jax.jit(
            self.train_step(key), donate_argnums=0, out_shardings=(state_shardings, everywhere)
        )
        with use_mesh(self.mesh(key)):
            return compiled.trace(state, batch, inputs)

    def step_flops(self, phase: PhaseShape, length: int) -> float:
        """Analytic FLOPs of one step, forward and backward."""
        return train_step_flops(self.model, length, phase.batch_size(length), CAUSAL)
