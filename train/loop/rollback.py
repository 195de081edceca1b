"""Rolling back: a checkpoint from before an anomaly, and on past the data that caused it."""

import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from tqdm import tqdm

from lengthwise.common.errors import UserError
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.machine.processes import first
from lengthwise.train.metrics.goodput import Goodput
from lengthwise.train.metrics.writer import MetricsWriter
from lengthwise.train.rules.anomaly import Anomaly, AnomalyRules
from lengthwise.train.rules.stopping import EarlyStopping
from lengthwise.train.step.update import TrainState


@dataclasses.dataclass(frozen=True)
class Kept:
    """What the JSON part of a checkpoint keeps of the host, and a rollback puts back."""

    stopping: EarlyStopping
    rules: AnomalyRules
    goodput: Goodput

    def state(self) -> dict[str, Any]:
        return {
            "stopping": self.stopping.state(),
            "anomalies": self.rules.state(),
            "goodput": self.goodput.state(),
        }


def roll_back(
    anomaly: Anomaly,
    kept: Kept,
    checkpoints: Checkpoints,
    writer: MetricsWriter,
    restore: Callable[[int], tuple[TrainState, dict[str, Any]] | None],
    phase_starts: Sequence[int],
) -> tuple[TrainState, int]:
    """To the newest checkpoint that the rules allow; state and steps done there.

    Nothing but the next checkpoint remembers it: killed before that, the run meets the same anomaly
    again and rolls back again, to the same end.

    Args:
      restore: state and JSON part of the newest whole checkpoint up to a step; None: there is none.
      phase_starts: the first step of each phase.

    Raises:
      UserError: there is no such checkpoint, or too many rollbacks have been to it.
    """
    with kept.goodput.spent_on("restore"):
        checkpoints.wait()
        newest = kept.rules.newest_usable(anomaly)
        restored = restore(newest)
        if restored is None:
            raise UserError(
                f"{anomaly.what}; no checkpoint of step {max(newest, 0)} or before is there to "
                "roll back to; lower train.checkpoint_every or anomaly.rollback_steps"
            )
        state, host = restored
        step = host["optimizer_step"]
        kept.rules.roll_back(anomaly, step, phase_starts[anomaly.phase], host.get("anomalies"))
        kept.stopping.restore(host["stopping"])
        kept.goodput.roll_back(host.get("goodput"))
        checkpoints.drop_after(step)
        number, row = len(kept.rules.rollbacks), kept.rules.rollbacks[-1]
        writer.cut_back(step, number - 1)
        writer.write({"kind": "rollback", "number": number, "time": time.time(), **row})
        writer.flush()
    begin, end = row["passed_over"]
    if first():
        tqdm.write(
            f"warning: {anomaly.what}: rolled back to checkpoint {step}; on past data steps "
            f"{begin + 1} to {end} of phase {anomaly.phase + 1}",
            file=sys.stderr,
        )
    return state, step
