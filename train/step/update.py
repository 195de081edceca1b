"""The train step: one optimizer step as a pure function of (state, batch, inputs)."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from lengthwise.model.transformer import Tables
from lengthwise.train.step.checksum import checksum

PyTree = Any  # a nested dict of arrays


@flax.struct.dataclass
class TrainState:
    """Device state: all that a step changes. Random keys are functions of (seed, step)."""

    params: PyTree
    opt_state: optax.OptState


@flax.struct.dataclass
class StepInputs:
    """Operands of a step besides its batch; other values need no other program."""

    step: jax.Array | np.int32  # scalar, optimizer steps done before this one
    seed: jax.Array | np.uint32  # scalar, for all that is random
    tables: Tables  # of the position schemes
    offset: jax.Array | np.int32 | None = None  # scalar: how far positions are moved, if at all
    positions: jax.Array | np.ndarray | None = None  # int32 [L]: those of a row, if drawn outside
    loss_limit: jax.Array | np.float32 = np.float32(np.inf)  # scalar; see StepConfig.guarded
    grad_norm_limit: jax.Array | np.float32 = np.float32(np.inf)  # scalar
    # scalar: whether a phase that renews some of the optimizer's state begins; None: it renews none
    begins: jax.Array | np.bool_ | None = None


@dataclasses.dataclass(frozen=True)
class StepConfig:
    """Static settings of a bucket's step."""

    microbatches: int  # parts of the batch whose gradients are added up one after the other
    z_loss: float
    random: bool  # the losses draw random numbers (dropout, positions), and so get a key
    checksum: bool  # also return a checksum of the new parameters, to compare runs bit by bit
    # Leave the state as it was where loss or gradient is not finite, or above the inputs' limits.
    guarded: bool = False


BY_ROW = ("nats_B", "targets_B")  # metrics of a step by row of the global batch

# (params, batch, inputs, key) -> nats of each target, log-partition of its logits: float32 [B, L].
# batch["rows"], int32 [B], has the numbers of its rows in the step's batch; the key is the step's.
LossesFunction = Callable[
    [PyTree, dict[str, jax.Array], StepInputs, jax.Array | None], tuple[jax.Array, jax.Array]
]
# (params, key) -> what is added to the mean loss, in nats/token
PenaltyFunction = Callable[[PyTree, jax.Array | None], jax.Array | float]
# (parameters, optimizer state) -> the optimizer state with which a phase begins
RenewFunction = Callable[[PyTree, Any], Any]
# (state, batch, inputs) -> (state, metrics)
TrainStep = Callable[
    [TrainState, dict[str, jax.Array], StepInputs], tuple[TrainState, dict[str, jax.Array]]
]


def make_train_step(
    losses_fn: LossesFunction,
    penalty_fn: PenaltyFunction,
    optimizer: optax.GradientTransformation,
    config: StepConfig,
    renew_fn: RenewFunction | None = None,
) -> TrainStep:
    """Makes a step whose loss is the mean over all valid targets of the global batch, + penalty.

    Metrics are scalars: `loss` (nats/token, without z-loss and penalty), `targets` (valid ones),
    `grad_norm` (before clipping), `param_norm`, and `checksum` where asked for; and by row of the
    global batch, in its order: `nats_B` (float32 [B], summed over the row's valid targets, without
    the z-loss) and `targets_B` (int32 [B], number of those). A skipped step returns its figures and
    the old state, counters included.

    Args:
      renew_fn: applied before a step whose inputs say that a phase begins.
    """

    def summed_loss(
        params: PyTree, batch: dict[str, jax.Array], inputs: StepInputs, key: jax.Array | None
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        with jax.named_scope("forward"):
            nats_BL, log_partition_BL = losses_fn(params, batch, inputs, key)
        with jax.named_scope("loss"):
            valid_BL = (batch["segment_ids"] > 0) & (batch["targets"] >= 0)
            nats_B = jnp.sum(jnp.where(valid_BL, nats_BL, 0.0), axis=1)
            penalty = jnp.sum(jnp.where(valid_BL, jnp.square(log_partition_BL), 0.0))
            targets_B = jnp.sum(valid_BL, axis=1, dtype=jnp.int32)
            # A mean over targets, as the loss becomes one when it is divided by their number.
            added = penalty_fn(params, key) * jnp.sum(targets_B)
            return jnp.sum(nats_B) + config.z_loss * penalty + added, (nats_B, targets_B)

    gradient = jax.value_and_grad(summed_loss, has_aux=True)

    def summed_gradient(
        params: PyTree, batch: dict[str, jax.Array], inputs: StepInputs
    ) -> tuple[PyTree, jax.Array, jax.Array]:
        """Gradient of the summed loss; of each row, in the order of the batch, nats and targets."""
        key = None
        if config.random:
            key = jax.random.fold_in(jax.random.key(inputs.seed), inputs.step)
        # What is random goes by these, so that it doesn't depend on the microbatches.
        batch = batch | {"rows": jnp.arange(batch["inputs"].shape[0], dtype=jnp.int32)}
        if config.microbatches == 1:
            (_, (nats_B, targets_B)), grads = gradient(params, batch, inputs, key)
            return grads, nats_B, targets_B

        def split(x: jax.Array) -> jax.Array:
            # Interleaved, so that each part takes rows from every device.
            return x.reshape(-1, config.microbatches, *x.shape[1:]).swapaxes(0, 1)

        def add(grads_sum: PyTree, part: Any) -> tuple[PyTree, tuple[jax.Array, jax.Array]]:
            (_, of_rows), grads = gradient(params, part, inputs, key)
            # The TPU compiler would move sums over devices behind the loop, and fails at it.
            grads = jax.lax.optimization_barrier(grads)
            return jax.tree.map(jnp.add, grads_sum, grads), of_rows

        zeros = jax.tree.map(jnp.zeros_like, params)
        grads, (nats, targets) = jax.lax.scan(add, zeros, jax.tree.map(split, batch))
        # Back from the interleaved parts to the order of the batch.
        return grads, nats.swapaxes(0, 1).reshape(-1), targets.swapaxes(0, 1).reshape(-1)

    def train_step(
        state: TrainState, batch: dict[str, jax.Array], inputs: StepInputs
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        if renew_fn is not None:
            # In the step, so that it needs no program of its own; a skipped step keeps it, too.
            new_opt_state = renew_fn(state.params, state.opt_state)
            begin = functools.partial(jnp.where, inputs.begins)
            opt_state = jax.tree.map(begin, new_opt_state, state.opt_state)
            state = TrainState(state.params, opt_state)
        grads, nats_B, targets_B = summed_gradient(state.params, batch, inputs)
        targets = jnp.sum(targets_B)
        count = jnp.maximum(targets, 1).astype(jnp.float32)
        grads = jax.tree.map(lambda g: g / count, grads)
        loss, grad_norm = jnp.sum(nats_B) / count, optax.tree.norm(grads)
        with jax.named_scope("optimizer"):
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            new = TrainState(optax.apply_updates(state.params, updates), opt_state)
            if config.guarded:
                # Decided before the update, which then overwrites the donated buffers as ever: its
                # last operation becomes a choice between the old number and the new.
                good = jnp.isfinite(loss) & (loss <= inputs.loss_limit)
                good &= jnp.isfinite(grad_norm) & (grad_norm <= inputs.grad_norm_limit)
                new = jax.tree.map(lambda x, old: jnp.where(good, x, old), new, state)
        metrics = {
            "loss": loss,
            "targets": targets,
            "nats_B": nats_B,
            "targets_B": targets_B,
            "grad_norm": grad_norm,
            "param_norm": optax.tree.norm(new.params),
        }
        if config.checksum:
            metrics["checksum"] = checksum(new.params)
        return new, metrics

    return train_step
