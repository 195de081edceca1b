"""Settings of the update.

Nothing here imports jax, so that a wrong flag is refused at once.
"""

from dataclasses import dataclass
from typing import Any

from lengthwise.common.registry import Components
from lengthwise.common.settings import components, setting
from lengthwise.train.step.registry import OPTIMIZERS

SCHEDULES = ("cosine", "wsd", "constant")


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer of a run, the settings of each, and what all share."""

    name: str = "adamw"  # of an optimizer: adamw, or one from outside
    learning_rate: float = setting(3e-3, "[0, inf)")  # peak
    warmup_steps: int = setting(100, "[0, inf)")  # steps of linear warm-up from 0
    schedule: str = setting("cosine", choices=SCHEDULES)  # cosine | wsd | constant
    decay_share: float = setting(0.2, "[0, 1]")  # wsd: share of the steps in the decay at the end
    final_share: float = setting(0.1, "[0, 1]")  # last learning rate / peak
    l2: float = setting(0.1, "[0, inf)")  # decoupled weight decay, on matrices
    l1: float = setting(0.0, "[0, inf)")  # decoupled L1, on matrices
    clip_norm: float = setting(1.0, "(0, inf)")  # global gradient norm
    z_loss: float = setting(1e-4, "[0, inf)")  # weight of log_partition ** 2
    optimizers: Components[Any] = components(OPTIMIZERS, "optimizer")
