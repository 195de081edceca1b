"""Errors that end a training: what happened, the checkpoint that is kept, the way out."""

from lengthwise.common.errors import UserError
from lengthwise.train.loop.state import RunState
from lengthwise.train.rules.anomaly import NONFINITE, Anomaly


def non_finite(state: RunState, what: str) -> UserError:
    """The error of scores that are not finite."""
    return _final_error(state, f"non-finite {what}", "")


def stop_error(state: RunState, anomaly: Anomaly) -> UserError:
    """The error of an anomaly that ends the run."""
    if anomaly.why_stopped:
        return _final_error(state, f"{anomaly.what}; {anomaly.why_stopped}", "")
    rule = "on_nonfinite" if anomaly.cause == NONFINITE else "on_spike"
    return _final_error(
        state, anomaly.what, f"go on with --config.anomaly.{rule}=rollback (or skip), or "
    )


def _final_error(state: RunState, what: str, way_on: str) -> UserError:
    """Flushes rows and checkpoints; the error names the cause, the last checkpoint, the way out."""
    state.writer.flush()
    state.run.checkpoints.wait()
    good = state.run.checkpoints.latest_step()
    last = "no checkpoint was written yet" if good is None else f"checkpoint {good} is kept"
    again = "" if good is None else " and train.init_from this one"
    return UserError(
        f"{what}; {last}; {way_on}start another --workdir with a lower "
        f"optimizer.learning_rate or a longer optimizer.warmup_steps{again}"
    )
