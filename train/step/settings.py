"""Settings of the update.

Nothing here imports jax, so that a wrong flag is refused at once.
"""

from dataclasses import dataclass, replace
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.common.registry import Components
from lengthwise.common.settings import components, setting
from lengthwise.train.step.registry import OPTIMIZERS

SCHEDULES = ("cosine", "wsd", "constant")
MOMENTS = ("keep", "new")


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer of a run, the settings of each, and what all share."""

    name: str = "adamw"  # of an optimizer: adamw, muon, or one from outside
    learning_rate: float = setting(3e-3, "[0, inf)")  # peak
    # steps of linear warm-up, the first of which has 1 / warmup_steps of the peak
    warmup_steps: int = setting(100, "[0, inf)")
    schedule: str = setting("cosine", choices=SCHEDULES)  # cosine | wsd | constant
    # steps from the first to the end of the decay; 0: the budget_steps of all phases. A run that is
    # trained for longer keeps them, and its last learning rate behind them
    schedule_steps: int = setting(0, "[0, inf)")
    decay_share: float = setting(0.2, "[0, 1]")  # wsd: share of the steps in the decay at the end
    final_share: float = setting(0.1, "[0, 1]")  # last learning rate / peak
    l2: float = setting(0.1, "[0, inf)")  # decoupled weight decay, on matrices
    l1: float = setting(0.0, "[0, inf)")  # decoupled L1, on matrices
    # patterns of names of parameters without L2 and L1, such as ("embedding", "blocks.mlp.*")
    no_decay: tuple[str, ...] = ()
    clip_norm: float = setting(1.0, "(0, inf)")  # global gradient norm
    z_loss: float = setting(1e-4, "[0, inf)")  # weight of log_partition ** 2
    optimizers: Components[Any] = components(OPTIMIZERS, "optimizer")

    def decay_steps(self, steps: int) -> int:
        """Steps of the decay at the end of a schedule of `steps` steps; of wsd alone."""
        return max(1, round(steps * self.decay_share)) if self.schedule == "wsd" else 0

    def check_schedule(self, steps: int) -> None:
        """Raises UserError for a warm-up that does not fit into a schedule of `steps` steps."""
        if self.warmup_steps >= steps:
            raise UserError(
                f"optimizer.warmup_steps={self.warmup_steps} does not fit into {steps} steps; "
                "shorten the warm-up or lengthen the run"
            )
        if self.decay_steps(steps) > steps - self.warmup_steps:
            raise UserError(
                f"optimizer.decay_share={self.decay_share} and warmup_steps={self.warmup_steps} "
                f"overlap in {steps} steps; shorten one of them"
            )

    def clipped(self, steps: int) -> "OptimizerConfig":
        """These settings; a warm-up that does not fit is a quarter of the steps, or what fits."""
        room = steps - max(1, self.decay_steps(steps))
        if self.warmup_steps <= room:
            return self
        return replace(self, warmup_steps=min(steps // 4, room))


@dataclass(frozen=True)
class PhaseRateConfig:
    """Learning rate of a phase and of those behind it, up to the next one that restarts it."""

    # the schedule begins anew, over the budget_steps of these phases; its values are of no use
    # without, but in the first phase
    restart: bool = False
    learning_rate: float = setting(0.0, "[0, inf)")  # peak; 0: optimizer.learning_rate
    warmup_steps: int | None = setting(None, "[0, inf)")  # None: optimizer.warmup_steps
    # cosine | wsd | constant; empty: optimizer.schedule
    schedule: str = setting("", choices=("", *SCHEDULES))
    # last learning rate / peak; -1: optimizer.final_share
    final_share: float = setting(-1.0, "[-1, 1]")

    def over(self, optimizer: OptimizerConfig) -> OptimizerConfig:
        """The optimizer's settings with these in place of its own."""
        warmup = optimizer.warmup_steps if self.warmup_steps is None else self.warmup_steps
        return replace(
            optimizer,
            learning_rate=self.learning_rate or optimizer.learning_rate,
            warmup_steps=warmup,
            schedule=self.schedule or optimizer.schedule,
            final_share=optimizer.final_share if self.final_share < 0 else self.final_share,
        )


@dataclass(frozen=True)
class RateSchedule:
    """The learning rate's schedule over consecutive phases."""

    first_phase: int
    steps: int  # planned ones, which the decay divides
    optimizer: OptimizerConfig  # its warm-up clipped to the steps
    asked_warmup: int  # steps, before it was clipped
