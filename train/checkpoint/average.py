"""Mean of the weights of several checkpoints of a run."""

from collections.abc import Sequence
from typing import Any

import jax

from lengthwise.common.errors import UserError
from lengthwise.train.checkpoint.checkpoints import Checkpoints


def steps_to_average(steps: Sequence[int], last: int, count: int) -> list[int]:
    """The newest `count` of `steps` up to `last`.

    Raises:
      UserError: there are fewer.
    """
    newest = sorted((step for step in steps if step <= last), reverse=True)[:count]
    if len(newest) < count:
        raise UserError(
            f"eval.average={count}, but up to step {last} there are {len(newest)} checkpoints; "
            "lower it, or train with train.keep_every, which keeps more"
        )
    return newest


def average_params(checkpoints: Checkpoints, steps: Sequence[int], abstract_params: object) -> Any:
    """Restores the mean of the weights of `steps`, one checkpoint after the other.

    Raises:
      UserError: a checkpoint can't be read, or they were trained under different scalings of RoPE.
    """
    scalings = {step: checkpoints.host(step)["meaning"]["rope_scaling"] for step in steps}
    for step, scaling in scalings.items():
        if scaling != scalings[steps[0]]:
            raise UserError(
                f"eval.average={len(steps)}: checkpoints {steps[0]} and {step} were trained under "
                "different scalings of RoPE, and have no mean; lower it"
            )
    add = jax.jit(lambda one, other: jax.tree.map(lambda x, y: x + y, one, other))
    total = checkpoints.restore_params(steps[0], abstract_params)
    for step in steps[1:]:
        total = add(total, checkpoints.restore_params(step, abstract_params))
    return jax.jit(lambda tree: jax.tree.map(lambda x: x / len(steps), tree))(total)
