"""Stopping scores: what early stopping and the best checkpoint go by."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.train.rules.registry import STOPPING_SCORES
from lengthwise.train.rules.stopping import StoppingConfig


class StoppingScore(ABC):
    """One number of what an evaluation measured, lower is better; its fields are its settings."""

    @abstractmethod
    def of(self, evaluation: Mapping[str, Any]) -> float:
        """The number.

        evaluation: the row of kind "eval" of metrics.jsonl. On text: score and in_range_score, NLL
        in nats/token at twice the training length and at it; scores, NAME@LENGTH -> value, low,
        high, higher_is_better, of eval.during. On a task: score, the share of wrong tokens, and
        exact_match.
        """

    def check(self, figures: Sequence[str]) -> None:  # noqa: B027
        """Raises UserError where none of the `figures` of eval.during is what this needs."""


@dataclass(frozen=True)
class ScheduledFigure(StoppingScore):
    """A figure of eval.during, such as passkey@256."""

    figure: str

    def of(self, evaluation: Mapping[str, Any]) -> float:
        """Raises UserError: the scorer has no score at that length."""
        figures = evaluation["scores"]
        if self.figure not in figures:
            raise UserError(
                f"stopping.score={self.figure!r} was not scored; choose one of "
                f"{', '.join((*STOPPING_SCORES.names(), *figures))}"
            )
        figure = figures[self.figure]
        return float(-figure["value"] if figure["higher_is_better"] else figure["value"])

    def check(self, figures: Sequence[str]) -> None:
        if self.figure not in figures:
            raise UserError(
                f"stopping.score={self.figure!r} is no score of eval.during at the training "
                "length or twice that; choose one of "
                f"{', '.join((*STOPPING_SCORES.names(), *figures))}"
            )


def stopping_score(config: StoppingConfig) -> StoppingScore:
    """The score that `stopping.score` names: a registered one, else a figure of eval.during.

    Raises:
      UserError: settings that it can't have.
    """
    if config.score not in STOPPING_SCORES:
        return ScheduledFigure(config.score)
    score: StoppingScore = config.scores.make(config.score, "stopping.score")
    return score
