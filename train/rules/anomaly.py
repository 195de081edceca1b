"""Anomalies: steps whose loss or gradient is non-finite, or far above those before (a spike).

By default a non-finite number ends the run, and spikes are not looked for. A rule may *skip* the
update, as the skip-step optimizers of OLMo do, by the same measure: 6 standard deviations above the
mean of the last 128 steps (here of the same bucket, since losses differ by bucket); or *roll back*
to a checkpoint before and go on past the data in between, as PaLM's authors did by hand (Chowdhery
et al. 2022, section 5.1: 100 steps back, 200 to 500 batches passed over).

The limits of step n are taken over the steps up to n - 2, since n is dispatched before the metrics
of n - 1 are there: always these, whatever the loop waited for, so that a resumed run has the same.
loop/step_logger.py raises what is found here; loop/loop.py and loop/restore.py carry it out.
"""

import collections
import dataclasses
import math
from typing import Any

import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.common.settings import setting
from lengthwise.train.rules.data_steps import DataSteps, without

NONFINITE, SPIKE = "non-finite", "spike"
ON_NONFINITE = ("stop", "skip", "rollback")
ON_SPIKE = ("off", *ON_NONFINITE)
FIGURES = ("loss", "grad_norm", "param_norm")
_LAG = 2  # steps between the last one that a limit knows and the one that it is for


@dataclasses.dataclass(frozen=True)
class AnomalyConfig:
    """The rules."""

    # A loss, gradient or parameter that is no finite number: stop | skip | rollback
    on_nonfinite: str = setting("stop", choices=ON_NONFINITE)
    # A loss or gradient norm far above those of its bucket: off | stop | skip | rollback
    on_spike: str = setting("off", choices=ON_SPIKE)
    # standard deviations above the mean from which it is a spike
    deviations: float = setting(6.0, "(0, inf)")
    # last steps of a bucket that mean and deviation are taken over
    window: int = setting(128, "[2, inf)")
    warmup: int = setting(64, "[2, inf)")  # steps of a bucket without which nothing is a spike
    # skipped steps among the last `window` of the run; one more stops it
    max_skips: int = setting(8, "[0, inf)")
    # rollbacks to one checkpoint; one more stops the run
    max_rollbacks: int = setting(3, "[1, inf)")
    # steps that the checkpoint lies before the anomaly, at least
    rollback_steps: int = setting(0, "[0, inf)")
    # data steps after the anomaly's that are passed over with it
    pass_over: int = setting(0, "[0, inf)")

    def check(self) -> None:
        """Raises UserError where a spike could never be told."""
        if self.warmup > self.window:
            raise UserError(
                f"anomaly.warmup={self.warmup} steps must fit into anomaly.window={self.window}"
            )

    @property
    def skips(self) -> bool:
        """Whether the compiled step must be able to leave out its update."""
        return "skip" in (self.on_nonfinite, self.on_spike)


@dataclasses.dataclass(frozen=True)
class Limits:
    """Upper limits of a step's figures, beyond which it is a spike; infinite: no limit."""

    loss: np.float32  # nats/token
    grad_norm: np.float32


NO_LIMITS = Limits(np.float32(np.inf), np.float32(np.inf))


@dataclasses.dataclass(frozen=True)
class Anomaly:
    """An anomalous step and the action that the rules take."""

    cause: str  # NONFINITE | SPIKE
    action: str  # stop | skip | rollback
    step: int  # optimizer steps done with it
    phase: int
    bucket: int
    data_step: int  # of the phase, from 0
    what: str  # a line for people
    why_stopped: str = ""  # which bound of the rules was reached


class AnomalyError(Exception):
    """The run can't go on from this state: it stops or rolls back.

    number: of the run, where several are trained in lockstep.
    """

    def __init__(self, anomaly: Anomaly, number: int):
        super().__init__(anomaly.what)
        self.anomaly, self.number = anomaly, number


@dataclasses.dataclass(frozen=True)
class StepFigures:
    """Figures of a step that the rules judge."""

    step: int  # optimizer steps done with it
    phase: int
    bucket: int
    data_step: int  # of the phase, from 0
    values: dict[str, float]  # FIGURES
    limits: Limits  # those that it was dispatched with


class AnomalyRules:
    """Judges steps by the figures of their (phase, bucket); records skips and rollbacks."""

    def __init__(self, config: AnomalyConfig):
        self._config = config
        self._windows: dict[tuple[int, int], collections.deque[tuple[float, float]]] = {}
        # Steps that no limit may use yet: (step, phase, bucket, loss, gradient norm)
        self._unused: collections.deque[tuple[int, int, int, float, float]] = collections.deque()
        self.skipped: list[tuple[int, int, int]] = []  # (step, phase, data step of the phase)
        self.rollbacks: list[dict[str, Any]] = []  # all of the run, in order
        self.data_steps = DataSteps()

    def limits(self, step: int, phase: int, bucket: int) -> Limits:
        """Limits of the step after which `step` steps are done; to be called step by step."""
        if self._config.on_spike == "off":
            return NO_LIMITS
        while self._unused and self._unused[0][0] <= step - _LAG:
            _, of_phase, of_bucket, *figures = self._unused.popleft()
            window = self._windows.setdefault(
                (of_phase, of_bucket), collections.deque(maxlen=self._config.window)
            )
            window.append((figures[0], figures[1]))
        seen = self._windows.get((phase, bucket), ())
        if len(seen) < self._config.warmup:
            return NO_LIMITS
        figures_N2 = np.array(seen)
        mean_2, deviation_2 = figures_N2.mean(axis=0), figures_N2.std(axis=0, ddof=1)
        loss, grad_norm = (mean_2 + self._config.deviations * deviation_2).astype(np.float32)
        return Limits(loss, grad_norm)

    def record(self, done: StepFigures) -> Anomaly | None:
        """Records a step's figures; returns its anomaly, if it has one.

        Limits of later steps don't include anomalous ones.
        """
        cause, what = self._cause(done)
        if cause is None:
            if self._config.on_spike != "off":
                loss, grad_norm = done.values["loss"], done.values["grad_norm"]
                self._unused.append((done.step, done.phase, done.bucket, loss, grad_norm))
            return None
        action = self._config.on_nonfinite if cause == NONFINITE else self._config.on_spike
        why = ""
        if action == "skip":
            if cause == NONFINITE and all(math.isfinite(done.values[n]) for n in FIGURES[:2]):
                action, why = "stop", "a finite update made it, which comes too late to be skipped"
            else:
                self.skipped.append((done.step, done.phase, done.data_step))
                recent = sum(step > done.step - self._config.window for step, *_ in self.skipped)
                if recent > self._config.max_skips:
                    action = "stop"
                    why = (
                        f"{recent} of the last {self._config.window} steps were to be skipped, "
                        f"more than anomaly.max_skips={self._config.max_skips}"
                    )
        return Anomaly(cause, action, done.step, done.phase, done.bucket, done.data_step, what, why)

    @staticmethod
    def _cause(done: StepFigures) -> tuple[str | None, str]:
        where = f"at step {done.step} in bucket {done.bucket}"
        if not all(math.isfinite(done.values[name]) for name in FIGURES):
            figures = ", ".join(f"{name} {done.values[name]}" for name in FIGURES)
            return NONFINITE, f"non-finite loss, gradient or parameter {where} ({figures})"
        for name, limit in (("loss", done.limits.loss), ("grad_norm", done.limits.grad_norm)):
            if done.values[name] > limit:
                return SPIKE, f"spike {where} ({name} {done.values[name]:.4g} above {limit:.4g})"
        return None, ""

    def newest_usable(self, anomaly: Anomaly) -> int:
        """Latest step whose checkpoint a rollback may restore."""
        return anomaly.step - 1 - self._config.rollback_steps

    def roll_back(self, anomaly: Anomaly, to_step: int, phase_start: int, saved: Any) -> None:
        """Restores the rules of checkpoint `to_step`, and passes over the data up to the anomaly.

        Args:
          phase_start: the first step of the anomaly's phase; where the checkpoint is of a phase
            before, the data of the anomaly's phase are passed over from its start.
          saved: the checkpoint's `state`.

        Raises:
          UserError: too many rollbacks to this checkpoint.
        """
        rollbacks = self.rollbacks
        before = sum(1 for each in rollbacks if each["to_step"] == to_step)
        if before >= self._config.max_rollbacks:
            raise UserError(
                f"{anomaly.what}; rolled back to checkpoint {to_step} {before} times already "
                f"(anomaly.max_rollbacks); this one is kept; roll back further with "
                "--config.anomaly.rollback_steps, pass over more data with "
                "--config.anomaly.pass_over, or lower optimizer.learning_rate in another --workdir"
            )
        begin = self.data_steps.at(anomaly.phase, max(0, to_step - phase_start))
        end = anomaly.data_step + 1 + self._config.pass_over
        data_steps = self.data_steps.passing(anomaly.phase, begin, end)
        self.restore(saved)
        self.data_steps = data_steps
        self.rollbacks = [
            *rollbacks,
            {
                "step": anomaly.step,
                "to_step": to_step,
                "phase": anomaly.phase,
                "bucket": anomaly.bucket,
                "cause": anomaly.cause,
                "passed_over": [begin, end],
            },
        ]

    def trained(self, phase: int, steps: int) -> list[range]:
        """Data steps whose updates are in the parameters after `steps` steps of a phase."""
        holes = {data_step for _, number, data_step in self.skipped if number == phase}
        return without(self.data_steps.ranges(phase, 0, steps), holes)

    def state(self) -> dict[str, Any]:
        """The JSON part of a checkpoint."""
        return {
            "windows": [[*key, list(map(list, seen))] for key, seen in self._windows.items()],
            "held": [list(each) for each in self._unused],
            "skipped": [list(each) for each in self.skipped],
            "rollbacks": self.rollbacks,
            "passed_over": [list(each) for each in self.data_steps.passed],
        }

    def restore(self, state: dict[str, Any] | None) -> None:
        """Restores `state`; None: of a checkpoint from before there were rules."""
        fresh = AnomalyRules(self._config)
        state = state or fresh.state()
        self._windows = {
            (phase, bucket): collections.deque(map(tuple, seen), maxlen=self._config.window)
            for phase, bucket, seen in state["windows"]
        }
        self._unused = collections.deque(tuple(each) for each in state["held"])
        self.skipped = [tuple(each) for each in state["skipped"]]
        self.rollbacks = list(state["rollbacks"])
        self.data_steps = DataSteps(tuple(tuple(each) for each in state["passed_over"]))
