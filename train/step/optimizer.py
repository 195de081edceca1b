"""The update: clipping, an optimizer, decoupled L2 and L1, and the learning-rate schedules."""

import difflib
import fnmatch
import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lengthwise.common.errors import UserError
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


def decay_mask(params: object, no_decay: Sequence[str] = ()) -> object:
    """Mask of the parameters that L1 and L2 act on: matrices, without those of position schemes.

    no_decay: patterns of the dotted names of further ones without, see `check_no_decay`.

    Parameters are stacked over layers, so that a matrix of a block has rank 3 and its norm scale
    rank 2; the rank alone would not tell a norm of a block from an embedding.
    """

    def is_matrix(path: tuple, leaf: jax.Array) -> bool:
        names = {getattr(key, "key", None) for key in path}
        if "positions" in names or leaf.ndim - ("blocks" in names) < 2:
            return False
        return not any(fnmatch.fnmatchcase(_name(path), pattern) for pattern in no_decay)

    return jax.tree_util.tree_map_with_path(is_matrix, params)


def check_no_decay(params: object, no_decay: Sequence[str]) -> None:
    """Checks that each pattern of `optimizer.no_decay` matches a parameter's name.

    Raises:
      UserError: one doesn't; names the nearest parameters.
    """
    names = [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    for pattern in no_decay:
        if not fnmatch.filter(names, pattern):
            nearest = difflib.get_close_matches(pattern, names, n=3, cutoff=0.0)
            raise UserError(
                f"optimizer.no_decay: {pattern!r} matches no parameter; "
                f"nearest: {', '.join(nearest)}"
            )


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def add_decayed_signs(l1: float) -> optax.GradientTransformation:
    """Adds `l1 * sign(parameter)` to the update: L1 in the decoupled form of AdamW's L2."""

    def update(updates: optax.Updates, params: optax.Params | None = None) -> optax.Updates:
        if params is None:
            raise ValueError(optax.NO_PARAMS_MSG)
        return jax.tree.map(lambda u, p: u + l1 * jnp.sign(p), updates, params)

    return optax.stateless(update)


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """The chain clip -> optimizer -> decoupled L2 and L1 -> -learning_rate.

    Its state is a tuple, the last item of which counts the updates of the learning rate's schedule.

    Raises:
      UserError: an unknown optimizer, settings that it can't have, or an impossible schedule.
    """
    optimizer: Optimizer = config.optimizers.make(config.name, "optimizer.name")
    decays = functools.partial(decay_mask, no_decay=config.no_decay)
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optimizer.transformation(steps),
        optax.masked(optax.add_decayed_weights(config.l2), decays),
        optax.masked(add_decayed_signs(config.l1), decays),
        optax.scale_by_learning_rate(learning_rate_schedule(config, steps)),
    )


def renewed(
    state: tuple[Any, ...], fresh: tuple[Any, ...], *, moments: bool, schedule: bool
) -> tuple[Any, ...]:
    """The state of `make_optimizer` with parts of a fresh one in place of its own.

    Args:
      moments: whether all but the schedule's counter begins anew.
      schedule: whether that counter does.
    """
    return (*(fresh if moments else state)[:-1], (fresh if schedule else state)[-1])
