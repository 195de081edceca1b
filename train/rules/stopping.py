"""Early stopping: the score beyond the training length worsens while training still improves.

A lower training loss with a higher out-of-length score is the sign that the model now fits the
training lengths at the expense of longer ones. Training losses differ by bucket, and a curriculum
changes the share of each, so that the trend is taken bucket by bucket.
"""

import dataclasses
from typing import Any

from lengthwise.common.registry import Components
from lengthwise.common.settings import components, setting
from lengthwise.train.rules.registry import STOPPING_SCORES


@dataclasses.dataclass(frozen=True)
class StoppingConfig:
    """When to stop early."""

    # What stopping and the best checkpoint go by: nll (at twice the training length), a score of
    # eval.during at that length or the training length, such as passkey@256, or one from outside.
    score: str = "nll"
    # evaluations in a row worse than the best; 0: never stop early
    patience: int = setting(0, "[0, inf)")
    min_delta: float = setting(0.0, "[0, inf)")  # of the score, that count as better
    scores: Components[Any] = components(STOPPING_SCORES, "stopping")


class EarlyStopping:
    """Tracks the selection score (lower is better) and the training loss by bucket."""

    def __init__(self, config: StoppingConfig):
        self._config = config
        self.best_score: float | None = None
        self.best_step: int | None = None
        self.bad_evaluations = 0
        self._window: dict[int, list[float]] = {}  # bucket -> [sum of losses, steps]
        self._at_best: dict[int, float] = {}  # bucket -> mean loss in the window before the best

    def record_loss(self, bucket: int, loss: float) -> None:
        """Records a training step's loss (nats/token)."""
        total = self._window.setdefault(bucket, [0.0, 0])
        total[0] += loss
        total[1] += 1

    def training_loss_change(self) -> float | None:
        """Mean change of loss since the best evaluation's window, over the buckets in both.

        None where no bucket is in both.
        """
        shared = self._at_best.keys() & self._window.keys()
        if not shared:
            return None
        changes = [self._window[b][0] / self._window[b][1] - self._at_best[b] for b in shared]
        return sum(changes) / len(changes)

    def record_score(self, step: int, score: float) -> bool:
        """Records an evaluation's score; returns whether it is the best so far."""
        improved = self.best_score is None or score < self.best_score - self._config.min_delta
        if improved:
            self.best_score, self.best_step = score, step
            self.bad_evaluations = 0
            self._at_best = {b: total / n for b, (total, n) in sorted(self._window.items())}
        else:
            change = self.training_loss_change()
            # A training loss that doesn't fall is another trouble, and no reason for this rule.
            self.bad_evaluations = (
                self.bad_evaluations + 1 if change is not None and change < 0 else 0
            )
        self._window = {}
        return improved

    @property
    def should_stop(self) -> bool:
        return 0 < self._config.patience <= self.bad_evaluations

    def state(self) -> dict[str, Any]:
        """The JSON part of a checkpoint."""
        return {
            "best_score": self.best_score,
            "best_step": self.best_step,
            "bad_evaluations": self.bad_evaluations,
            "window": {str(b): list(total) for b, total in self._window.items()},
            "at_best": {str(b): loss for b, loss in self._at_best.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.best_score = state["best_score"]
        self.best_step = state["best_step"]
        self.bad_evaluations = state["bad_evaluations"]
        self._window = {int(b): list(total) for b, total in state["window"].items()}
        self._at_best = {int(b): loss for b, loss in state["at_best"].items()}
