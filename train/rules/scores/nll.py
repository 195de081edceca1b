"""The first score of an evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lengthwise.train.rules.registry import STOPPING_SCORES
from lengthwise.train.rules.score import StoppingScore


@STOPPING_SCORES.register("nll")
@dataclass(frozen=True)
class LossBeyond(StoppingScore):
    """NLL at twice the training length; on a task the share of wrong tokens."""

    def of(self, evaluation: Mapping[str, Any]) -> float:
        return float(evaluation["score"])
