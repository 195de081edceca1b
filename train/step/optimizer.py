"""The update: clipping, an optimizer, decoupled L2 and L1, and the learning-rate schedules."""

from abc import ABC, abstractmethod

import jax
import jax.numpy as jnp
import optax

from lengthwise.train.step.settings import OptimizerConfig


class Optimizer(ABC):
    """What turns clipped gradients into the direction of a step; its fields are its settings.

    Trees in its state with the structure of the parameters, some of them masked perhaps, are
    sharded as these are; all else is replicated.
    """

    @abstractmethod
    def transformation(self, steps: int) -> optax.GradientTransformation:
        """The direction that the parameters are moved against, for a schedule of `steps` steps.

        Without learning rate, decay and clipping, which all optimizers share.
        """


def learning_rate_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate by step, from 0, for a schedule of `steps` steps; its last one behind them.

    Raises:
      UserError: a warm-up that does not fit into the schedule.
    """
    config.check_schedule(steps)
    peak, final, first = config.learning_rate, config.final_share, max(1, config.warmup_steps)
    # An update at rate 0 would be a wasted batch: the first has 1 / warmup_steps of the peak.
    warmup = optax.linear_schedule(peak / first, peak, first - 1)
    rest = steps - config.warmup_steps
    if config.schedule == "cosine":
        after = optax.cosine_decay_schedule(peak, rest, alpha=final)
        return optax.join_schedules([warmup, after], [config.warmup_steps])
    constant = optax.constant_schedule(peak)
    if config.schedule == "wsd":
        decay = config.decay_steps(steps)
        return optax.join_schedules(
            [warmup, constant, optax.linear_schedule(peak, peak * final, decay)],
            [config.warmup_steps, steps - decay],
        )
    return optax.join_schedules([warmup, constant], [config.warmup_steps])


def decay_mask(params: object) -> object:
    """Mask of the parameters that L1 and L2 act on: matrices, without those of position schemes.

    Parameters are stacked over layers, so that a matrix of a block has rank 3 and its norm scale
    rank 2; the rank alone would not tell a norm of a block from an embedding.
    """

    def is_matrix(path: tuple, leaf: jax.Array) -> bool:
        names = {getattr(key, "key", None) for key in path}
        return "positions" not in names and leaf.ndim - ("blocks" in names) >= 2

    return jax.tree_util.tree_map_with_path(is_matrix, params)


def add_decayed_signs(l1: float) -> optax.GradientTransformation:
    """Adds `l1 * sign(parameter)` to the update: L1 in the decoupled form of AdamW's L2."""

    def update(updates: optax.Updates, params: optax.Params | None = None) -> optax.Updates:
        if params is None:
            raise ValueError(optax.NO_PARAMS_MSG)
        return jax.tree.map(lambda u, p: u + l1 * jnp.sign(p), updates, params)

    return optax.stateless(update)


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """The chain clip -> optimizer -> decoupled L2 and L1 -> -learning_rate.

    Raises:
      UserError: an unknown optimizer, settings that it can't have, or an impossible schedule.
    """
    optimizer: Optimizer = config.optimizers.make(config.name, "optimizer.name")
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optimizer.transformation(steps),
        optax.masked(optax.add_decayed_weights(config.l2), decay_mask),
        optax.masked(add_decayed_signs(config.l1), decay_mask),
        optax.scale_by_learning_rate(learning_rate_schedule(config, steps)),
    )
