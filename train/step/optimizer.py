"""The update: clipping, an optimizer, decoupled L2 and L1, and the learning-rate schedules."""

from abc import ABC, abstractmethod

import jax
import jax.numpy as jnp
import optax

from lengthwise.common.errors import UserError
from lengthwise.train.step.settings import OptimizerConfig


class Optimizer(ABC):
    """What turns clipped gradients into the direction of a step; its fields are its settings.

    Trees in its state with the structure of the parameters are sharded as these are, all else is
    replicated.
    """

    @abstractmethod
    def transformation(self, steps: int) -> optax.GradientTransformation:
        """The direction that the parameters are moved against, for a run of `steps` steps.

        Without learning rate, decay and clipping, which all optimizers share.
        """


def learning_rate_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate by step for a run of `steps` steps.

    Raises:
      UserError: a warm-up that does not fit into the run.
    """
    if config.warmup_steps >= steps:
        raise UserError(
            f"optimizer.warmup_steps={config.warmup_steps} does not fit into {steps} steps; "
            "shorten the warm-up or lengthen the run"
        )
    peak, final = config.learning_rate, config.learning_rate * config.final_share
    warmup = optax.linear_schedule(0.0, peak, config.warmup_steps)
    rest = steps - config.warmup_steps
    if config.schedule == "cosine":
        after = optax.cosine_decay_schedule(peak, rest, alpha=config.final_share)
        return optax.join_schedules([warmup, after], [config.warmup_steps])
    if config.schedule == "wsd":
        decay = max(1, round(steps * config.decay_share))
        if decay > rest:
            raise UserError(
                f"optimizer.decay_share={config.decay_share} and warmup_steps="
                f"{config.warmup_steps} overlap in {steps} steps; shorten one of them"
            )
        return optax.join_schedules(
            [warmup, optax.constant_schedule(peak), optax.linear_schedule(peak, final, decay)],
            [config.warmup_steps, steps - decay],
        )
    return optax.join_schedules([warmup, optax.constant_schedule(peak)], [config.warmup_steps])


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
