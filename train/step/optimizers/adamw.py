"""AdamW (Loshchilov and Hutter, arXiv:1711.05101)."""

from dataclasses import dataclass

import optax

from lengthwise.common.settings import setting
from lengthwise.train.step.optimizer import Optimizer
from lengthwise.train.step.registry import OPTIMIZERS


@OPTIMIZERS.register("adamw")
@dataclass(frozen=True)
class AdamW(Optimizer):
    """The mean of the gradients over the root of the mean of their squares."""

    beta1: float = setting(0.9, "[0, 1)")  # decay of the mean of gradients a step
    beta2: float = setting(0.95, "[0, 1)")  # decay of the mean of their squares a step
    epsilon: float = setting(1e-8, "(0, inf)")  # added to the root of that mean

    def transformation(self, steps: int) -> optax.GradientTransformation:
        return optax.scale_by_adam(self.beta1, self.beta2, self.epsilon)
