"""Trains several runs in lockstep, each in its own work directory, with one program a step.

Each run keeps what it would keep by itself: rows, scores, checkpoints, stopping rules. So a group
that is killed goes on from the newest checkpoint that all of them have, and any of its runs can be
gone on with by itself.
"""

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from tqdm import tqdm

from lengthwise.common.errors import UserError
from lengthwise.train.loop.loop import Outcome, evaluate, stopped, timed_next
from lengthwise.train.loop.start import Trainee
from lengthwise.train.loop.state import Dispatched, Record
from lengthwise.train.loop.step_logger import StepLogger
from lengthwise.train.machine.preemption import PreemptionNotice, metadata_server
from lengthwise.train.machine.signals import STATUS, TerminationRequest
from lengthwise.train.metrics.goodput import Goodput
from lengthwise.train.metrics.writer import CompileCounter, metrics_writer
from lengthwise.train.programs.stacked import Drawn, StackedSteps
from lengthwise.train.rules.anomaly import AnomalyError, Limits
from lengthwise.train.step.checksum import named_checksums
from lengthwise.train.step.update import TrainState


@dataclasses.dataclass(frozen=True)
class _Dispatched:
    """A step of all runs on the device whose metrics nobody has looked at."""

    step: int  # optimizer steps done after it
    drawn: list[Drawn]
    limits: list[Limits]
    metrics: Callable[[], list[dict[str, np.ndarray]]]
    data_wait_seconds: float


def train_together(trainees: Sequence[Trainee]) -> list[Outcome]:
    """Trains or goes on training runs that differ in nothing but their seeds.

    Each is to have no early stopping, no rules on anomalies but to stop, and no profile.

    Raises:
      UserError: as `train`, of any of them; or see `StackedSteps`.
    """
    all_kept = [each.kept(Goodput(runs=len(trainees))) for each in trainees]
    accounts = [kept.goodput for kept in all_kept]
    programs = StackedSteps([each.setup for each in trainees])
    shared = set.intersection(*(set(each.checkpoints.steps()) for each in trainees))
    newest = max(shared, default=0)
    with _spent_on(accounts, "restore"):
        begun = [
            trainee.begin(kept, newest) for trainee, kept in zip(trainees, all_kept, strict=True)
        ]
        if len({step for _, step, _ in begun}) > 1:
            raise UserError(
                "a checkpoint is damaged, so that not all can go on from the same step; go on with "
                "them one after the other"
            )
        for trainee, (state, step, _) in zip(trainees, begun, strict=True):
            trainee.checkpoints.drop_after(step)
            named_checksums(state)
    _, start_step, _ = begun[0]
    for trainee in trainees:
        trainee.claim()
    total = trainees[0].setup.phases.total_steps
    if start_step == total:
        return [Outcome(state, total, "finished", seconds=0.0) for state, _, _ in begun]
    states = programs.stack([state for state, _, _ in begun])
    with contextlib.ExitStack() as open_, TerminationRequest() as termination:
        open_.enter_context(PreemptionNotice(metadata_server()))
        records = []
        for trainee, kept, (_, _, host) in zip(trainees, all_kept, begun, strict=True):
            writer = open_.enter_context(
                contextlib.closing(
                    metrics_writer(trainee.workdir, resume_step=start_step, rollbacks=0)
                )
            )
            if host is not None:
                kept.goodput.resume(host.get("goodput"), writer.last_seen)
            records.append(trainee.record(kept, writer))
        del begun
        sources = [
            open_.enter_context(
                contextlib.closing(trainee.setup.host_batches(start_step, kept.rules.data_steps))
            )
            for trainee, kept in zip(trainees, all_kept, strict=True)
        ]
        return _Group(records, programs, termination).run(states, start_step, sources)


class _Group:
    """The loop of a group; as `train.loop.loop` has it of one run."""

    def __init__(
        self, records: list[Record], programs: StackedSteps, termination: TerminationRequest
    ):
        self._records = records
        self._programs = programs
        self._termination = termination
        self._accounts = [record.goodput for record in records]
        self._pending: collections.deque[_Dispatched] = collections.deque()

    def run(
        self, states: TrainState, start_step: int, sources: Sequence[Iterator[Drawn]]
    ) -> list[Outcome]:
        records, runs = self._records, len(self._records)
        total, config = records[0].phases.total_steps, records[0].config
        bar = tqdm(
            total=total * runs, initial=start_step * runs, desc=f"training {runs}", unit="step"
        )
        self._loggers = [StepLogger(record, bar) for record in records]
        started = time.perf_counter()
        for account in self._accounts:
            account.begin_steps()
        with bar, CompileCounter() as compiles:
            self._clock = time.perf_counter()
            step, reason = start_step, "finished"
            while step < total:
                states = self._dispatch(states, step, sources)
                step += 1
                while len(self._pending) > 1:
                    self._finish()
                compiles.begin()
                last, terminated = step == total, self._termination.ends_here()
                evaluating = last or (config.eval_every > 0 and step % config.eval_every == 0)
                saving = last or terminated or step % config.checkpoint_every == 0
                if not (evaluating or saving):
                    continue
                while self._pending:  # no checkpoint of a state whose loss nobody has seen
                    self._finish()
                for number, record in enumerate(records):
                    self._score_and_save(record, states, number, step, evaluating, saving)
                self._clock = time.perf_counter()
                if terminated:
                    reason = self._termination.reason
                    break
            with _spent_on(self._accounts, "saving"):
                for record in records:
                    record.checkpoints.wait()
        seconds = time.perf_counter() - started
        for record, logger in zip(records, self._loggers, strict=True):
            logger.write_account(step)
            end = {"kind": "end", "step": step, "reason": reason, "seconds": seconds}
            record.writer.write({**end, "compiles_after_first_step": compiles.count})
        if reason not in STATUS and self._termination.ends_here():  # as `train.loop.loop`
            reason = self._termination.reason
        return [
            Outcome(self._programs.state_of(states, number), step, reason, seconds)
            for number in range(runs)
        ]

    def _dispatch(
        self, states: TrainState, step: int, sources: Sequence[Iterator[Drawn]]
    ) -> TrainState:
        ready = [timed_next(source) for source in sources]
        waited, drawn = sum(seconds for seconds, _ in ready), [each for _, each in ready]
        with _spent_on(self._accounts, "compile"):  # where it is not there yet
            self._programs.prepare(drawn)
        limits = [
            record.rules.limits(step + 1, phase.number, batch.length)
            for record, (phase, batch) in zip(self._records, drawn, strict=True)
        ]
        states, metrics = self._programs.step(states, step, drawn)
        self._pending.append(_Dispatched(step + 1, drawn, limits, metrics, waited))
        return states

    def _finish(self) -> None:
        """Looks at the oldest step that was dispatched; waits for the device."""
        done, runs = self._pending.popleft(), len(self._records)
        metrics = done.metrics()
        now = time.perf_counter()
        seconds, self._clock = (now - self._clock) / runs, now
        for number, (logger, (phase, batch)) in enumerate(
            zip(self._loggers, done.drawn, strict=True)
        ):
            of_one = Dispatched(
                done.step,
                phase,
                batch,
                metrics[number],
                done.data_wait_seconds / runs,
                done.limits[number],
            )
            try:
                logger.note(of_one, seconds)
            except AnomalyError as error:
                raise stopped(self._records[number], error.anomaly) from error

    def _score_and_save(
        self,
        record: Record,
        states: TrainState,
        number: int,
        step: int,
        evaluating: bool,
        saving: bool,
    ) -> None:
        state = self._programs.state_of(states, number)
        score = None
        if evaluating:
            with _spent_on(self._accounts, "evaluation"):
                score, improved = evaluate(record, state, step)
            saving = saving or improved
        if saving:
            self._loggers[number].write_account(step)
            with _spent_on(self._accounts, "saving"):
                record.writer.flush()
                record.checkpoints.save(step, state, record.host_state(step), score)


@contextlib.contextmanager
def _spent_on(accounts: Sequence[Goodput], cause: str) -> Iterator[None]:
    with contextlib.ExitStack() as all_:
        for account in accounts:
            all_.enter_context(account.spent_on(cause))
        yield
