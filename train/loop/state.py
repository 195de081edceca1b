"""Hand-over objects of training: a run, which is static, and its host state, which changes."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.metrics.goodput import Goodput
from lengthwise.train.metrics.writer import MetricsWriter
from lengthwise.train.programs.setup import Setup
from lengthwise.train.rules.anomaly import AnomalyRules
from lengthwise.train.rules.stopping import EarlyStopping


@dataclasses.dataclass(frozen=True)
class TrainingRun:
    """A run to be trained in its work directory; nothing of it changes in training.

    Args:
      claim: makes the directory this run's; called when nothing can refuse the run any more.
      evaluate: (parameters, step) -> row of scores of the selection split. Lower values of its
        "stopping_score" are better: early stopping and the best checkpoint go by it. None: nothing
        can be scored, and the newest checkpoint counts as the best.
      prepare_evaluation: compiles the programs of evaluation; called before step 0 where all
        programs are compiled ahead.
      peak_flops: FLOP/s of all devices together, for the share of peak.
    """

    setup: Setup
    workdir: Path
    checkpoints: Checkpoints
    claim: Callable[[], None]
    evaluate: Callable[[object, int], dict[str, Any]] | None
    prepare_evaluation: Callable[[], None]
    peak_flops: float


@dataclasses.dataclass
class RunState:
    """Host state of a run in training; device state is a `TrainState`, passed beside it.

    A checkpoint holds all of it but `run`, `reason` and `writer`.
    """

    run: TrainingRun
    step: int  # optimizer steps done
    stopping: EarlyStopping
    rules: AnomalyRules
    goodput: Goodput
    # Why training ended: "finished", "early stopping", or one of signals.STATUS.
    reason: str = "finished"
    writer: MetricsWriter = dataclasses.field(init=False)  # opened when training begins

    @classmethod
    def fresh(cls, run: TrainingRun, *, runs: int = 1) -> "RunState":
        """State before the first step. runs: how many share this process's time."""
        config = run.setup.config
        return cls(
            run,
            step=0,
            stopping=EarlyStopping(config.stopping),
            rules=AnomalyRules(config.anomaly),
            goodput=Goodput(runs=runs),
        )

    def host_state(self) -> dict[str, Any]:
        """The JSON part of a checkpoint."""
        return {
            "optimizer_step": self.step,
            "fingerprint": self.run.setup.fingerprint(),
            "meaning": self.run.setup.meaning(self.step),
            "stopping": self.stopping.state(),
            "anomalies": self.rules.state(),
            "goodput": self.goodput.state(),
        }

    def restore(self, host: dict[str, Any]) -> None:
        """Restores the JSON part of a checkpoint, apart from the account of the time."""
        self.step = host["optimizer_step"]
        self.stopping.restore(host["stopping"])
        self.rules.restore(host.get("anomalies"))


@contextlib.contextmanager
def spent_on(states: Sequence[RunState], cause: str) -> Iterator[None]:
    """Counts the time inside under `cause` in the account of each run."""
    with contextlib.ExitStack() as stack:
        for state in states:
            stack.enter_context(state.goodput.spent_on(cause))
        yield
