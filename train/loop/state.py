"""Hand-over objects of training: a run, which is static, and its host state, which changes."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.metrics.goodput import Goodput
from lengthwise.train.metrics.writer import MetricsWriter
from lengthwise.train.programs.setup import Setup
from lengthwise.train.rules.anomaly import AnomalyRules
from lengthwise.train.rules.phase_end import PhaseEnds
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
    phase_ends: PhaseEnds
    # Why training ended: "finished", "early stopping", or one of signals.STATUS.
    reason: str = "finished"
    evaluation_due: bool = False  # a signal cut short that of this step
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
            phase_ends=PhaseEnds([phase.end for phase in config.phases]),
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
            "phase_ends": self.phase_ends.state(),
            "evaluation_due": self.evaluation_due,
        }

    def restore(self, host: dict[str, Any]) -> None:
        """Restores the JSON part of a checkpoint, apart from the account of the time."""
        self.step = host["optimizer_step"]
        self.stopping.restore(host["stopping"])
        self.rules.restore(host.get("anomalies"))
        self.phase_ends.restore(host.get("phase_ends"))
        self.evaluation_due = host.get("evaluation_due", False)

    def judge_phase(self, evaluation: Mapping[str, Any]) -> bool:
        """Whether a rule ends the current phase at an evaluation; the next one then begins."""
        phases = self.run.setup.phases
        phase = phases.at(max(0, self.step - 1))
        is_last = self.step == phase.first_step + phase.steps
        ended = not is_last and self.phase_ends.reached(phase.number, evaluation)
        if ended:
            self.phase_ends.end(phase.number, self.step)
            phases.end_at(self.phase_ends.ends)
            conditions = list(phase.config.end.conditions)
            self.writer.write(
                {
                    "kind": "phase_end",
                    "step": self.step,
                    "phase": phase.number,
                    "conditions": conditions,
                }
            )
        if ended or is_last:
            self.phase_ends.begin(phase.number + 1, evaluation)
        return ended


@contextlib.contextmanager
def spent_on(states: Sequence[RunState], cause: str) -> Iterator[None]:
    """Counts the time inside under `cause` in the account of each run."""
    with contextlib.ExitStack() as stack:
        for state in states:
            stack.enter_context(state.goodput.spent_on(cause))
        yield
