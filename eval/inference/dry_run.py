"""Dry run: compiles every program that a checkpoint would run in a scorer, and runs none."""

from typing import Any

import jax
import numpy as np

from lengthwise.eval.inference.inference import Inference
from lengthwise.eval.inference.model_scorer import BoundModel
from lengthwise.eval.inference.programs import Program, Programs, Specification
from lengthwise.model.positions.rope_scaling import RopeScaling


class DryPrograms(Programs):
    """Programs that return stand-ins for their results. Those of `programs` are shared."""

    def __init__(self, programs: Programs):
        super().__init__(programs.architecture)
        self.compiled = programs.compiled

    def get(self, specification: Specification) -> Program:
        """Compiles the program. Raises UserError: the model can't compute what it specifies."""
        super().get(specification)
        results = self.compiled[specification].out_info
        return lambda *operands: jax.tree.map(stand_in, results)


def stand_in(result: Any) -> np.ndarray:
    """Zeros; floats [rows, tokens] are a loss that falls along the row, as fits expect."""
    array = np.zeros(result.shape, result.dtype)
    if array.ndim == 2 and array.dtype.kind == "f":
        array[:] = 1 / np.sqrt(np.arange(1, array.shape[1] + 1, dtype=array.dtype))
    return array


def dry_model(inference: Inference, trained: RopeScaling) -> BoundModel:
    """`ScorerFactory` without parameters: running a scorer on it leaves nothing to compile.

    trained: the scaling under which parameters will be trained.
    """
    dry = Inference(inference.architecture, inference.batching)
    dry.programs = DryPrograms(inference.programs)
    return BoundModel(dry, None, trained)
