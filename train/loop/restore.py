"""Restores a run: its newest whole checkpoint at a start, one before an anomaly in a rollback."""

import sys
import time
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.common.progress import ProgressBar
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.checkpoint.damage import DamagedCheckpointError
from lengthwise.train.checkpoint.meaning import other_meaning
from lengthwise.train.loop.state import RunState, TrainingRun
from lengthwise.train.machine.processes import is_first_process
from lengthwise.train.programs.setup import Setup
from lengthwise.train.rules.anomaly import Anomaly
from lengthwise.train.rules.phase_end import ends_of
from lengthwise.train.step.update import TrainState


def read_host_state(setup: Setup, checkpoints: Checkpoints, step: int) -> dict[str, Any]:
    """Reads the JSON part of a checkpoint and checks that it is of this model and these data.

    The phases of `setup` end where those of the checkpoint do.

    Raises:
      UserError: its weights mean something else here, or it was trained on another store, layout,
        curriculum or seed.
    """
    host = checkpoints.host(step)
    setup.phases.end_at(ends_of(host.get("phase_ends")))
    changed = other_meaning(host["meaning"], setup.meaning(step))
    if changed:
        raise UserError(
            f"checkpoint {step} has weights of another meaning: {'; '.join(changed)} (saved -> "
            "now); use the saved values, and the tokenizer and store that it was trained with"
        )
    if host["fingerprint"] != setup.fingerprint():
        raise UserError(
            f"checkpoint {step} was trained on other data: its fingerprint of (store, layout, "
            f"curriculum, seed) is {host['fingerprint']}, this run's is {setup.fingerprint()}; "
            "restore the token store or choose another --workdir"
        )
    return host


def restore_newest(run: TrainingRun, newest: int) -> tuple[TrainState, dict[str, Any]] | None:
    """Restores the newest whole checkpoint: device state and JSON part; None: there is none.

    Damaged ones are set aside with a warning.

    Args:
      newest: the last step to look at.

    Raises:
      UserError: the checkpoint was trained on another order of data, or none is whole.
    """
    setup, checkpoints = run.setup, run.checkpoints
    damaged: dict[int, DamagedCheckpointError] = {}
    for step in checkpoints.steps():
        if step > newest:
            continue
        try:
            host = read_host_state(setup, checkpoints, step)
            if step > setup.phases.total_steps:
                raise UserError(
                    f"the checkpoint is at step {step}, beyond the {setup.phases.total_steps} "
                    "steps of this config; raise phase.steps or choose another --workdir"
                )
            train_state = checkpoints.restore(step, setup.blueprint.abstract_state)
        except DamagedCheckpointError as error:
            damaged[step] = error
            continue
        for newer, why in damaged.items():
            checkpoints.set_aside(newer, why)
        return train_state, host
    if damaged:
        raise UserError(
            f"no checkpoint is whole: {'; '.join(map(str, damaged.values()))}; restore one from a "
            "copy or choose another --workdir"
        )
    return None


def roll_back(state: RunState, anomaly: Anomaly) -> TrainState:
    """Restores the newest checkpoint that the rules allow into `state`; returns its device state.

    The run goes on with the data after the anomaly's. Nothing but the next checkpoint records the
    rollback: killed before that, the run meets the same anomaly and rolls back to the same end.

    Raises:
      UserError: there is no such checkpoint, or too many rollbacks have been to it.
    """
    run = state.run
    with state.goodput.spent_on("restore"):
        run.checkpoints.wait()
        newest = state.rules.newest_usable(anomaly)
        restored = restore_newest(run, newest)
        if restored is None:
            raise UserError(
                f"{anomaly.what}; no checkpoint of step {max(newest, 0)} or before is there to "
                "roll back to; lower train.checkpoint_every or anomaly.rollback_steps"
            )
        train_state, host = restored
        step = state.step = host["optimizer_step"]
        phase = run.setup.phases.phases[anomaly.phase]
        state.rules.roll_back(anomaly, step, phase.first_step, host.get("anomalies"))
        state.stopping.restore(host["stopping"])
        state.phase_ends.restore(host.get("phase_ends"))
        state.goodput.roll_back(host.get("goodput"))
        run.checkpoints.drop_after(step)
        number, row = len(state.rules.rollbacks), state.rules.rollbacks[-1]
        state.writer.cut_back(step, number - 1)
        state.writer.write({"kind": "rollback", "number": number, "time": time.time(), **row})
        state.writer.flush()
    begin, end = row["passed_over"]
    if is_first_process():
        ProgressBar.write(
            f"warning: {anomaly.what}: rolled back to checkpoint {step}; on past data steps "
            f"{begin + 1} to {end} of phase {anomaly.phase + 1}",
            file=sys.stderr,
        )
    return train_state
