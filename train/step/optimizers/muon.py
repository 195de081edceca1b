"""Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon), by optax."""

from dataclasses import dataclass
from typing import Any

import jax
import optax

from lengthwise.common.settings import setting
from lengthwise.train.step.optimizer import Optimizer
from lengthwise.train.step.registry import OPTIMIZERS


@OPTIMIZERS.register("muon")
@dataclass(frozen=True)
class Muon(Optimizer):
    """The mean of a matrix's gradients, made orthogonal; Adam for all that is no such matrix.

    An update has the size that Adam's have, so that both go by one learning rate and decay (Liu et
    al., arXiv:2502.16982).
    """

    # matrices of the blocks that are made orthogonal: query | key | value | output | gate | up |
    # down; by default where it gains most (arXiv:2509.26030)
    matrices: tuple[str, ...] = setting(
        ("value", "output", "gate", "up", "down"),
        choices=("query", "key", "value", "output", "gate", "up", "down"),
    )
    momentum: float = setting(0.95, "[0, 1)")  # decay of the mean of gradients a step
    iterations: int = setting(5, "[1, 20]")  # of Newton and Schulz, towards the nearest orthogonal
    rms: float = setting(0.2, "(0, inf)")  # root mean square of an update's elements
    beta1: float = setting(0.9, "[0, 1)")  # of Adam, see adamw
    beta2: float = setting(0.95, "[0, 1)")  # of Adam
    epsilon: float = setting(1e-8, "(0, inf)")  # of Adam

    def transformation(self, steps: int) -> optax.GradientTransformation:
        orthogonal = optax.contrib.scale_by_muon(
            ns_steps=self.iterations, beta=self.momentum, weight_dimension_numbers=_of_stacked
        )
        adam = optax.scale_by_adam(self.beta1, self.beta2, self.epsilon)
        return optax.partition(
            {"muon": optax.chain(orthogonal, optax.stateless(self._sized)), "adam": adam},
            self._labels,
        )

    def _labels(self, params: Any) -> Any:
        """ "muon" or "adam" for each parameter."""

        def label(path: tuple, _: jax.Array) -> str:
            names = [getattr(key, "key", None) for key in path]
            return "muon" if names[0] == "blocks" and names[-1] in self.matrices else "adam"

        return jax.tree_util.tree_map_with_path(label, params)

    def _sized(self, updates: Any, _: Any) -> Any:
        """Orthogonal updates, scaled to the root mean square."""
        return jax.tree.map(lambda u: self.rms * max(u.shape[-2:]) ** 0.5 * u, updates)


def _of_stacked(updates: Any) -> Any:
    """Dimensions of the matrices [layers, in, out]: each layer's is made orthogonal by itself."""
    return jax.tree.map(lambda _: optax.contrib.MuonDimensionNumbers(1, 2), updates)
