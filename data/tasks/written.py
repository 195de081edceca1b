"""A batch of problems as a format writes them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Written:
    """Left-aligned batches of the ids of `data.tasks.symbols`."""

    prompt: np.ndarray  # int32 [N, W]
    answer: np.ndarray  # int32 [N, V]: what the model has to say, its trace first
