"""Steps of one run or of several in lockstep: what the training loop dispatches to the devices."""

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import NamedTuple, Protocol

import jax
import numpy as np

from lengthwise.data.batches.pipeline import HostBatch
from lengthwise.train.phases import Phase
from lengthwise.train.programs.compiled import CompiledSteps
from lengthwise.train.programs.execution import Key
from lengthwise.train.programs.setup import Setup
from lengthwise.train.rules.anomaly import Limits
from lengthwise.train.rules.data_steps import DataSteps
from lengthwise.train.step.update import BY_ROW, TrainState

Arrays = dict[str, jax.Array]
RunBatch = tuple[Phase, HostBatch]
# (phase number, length) -> compiled step; (state, batch, inputs) -> (state, metrics)
StepTable = CompiledSteps[Key, Callable[..., tuple[TrainState, Arrays]]]


class StepBatch(NamedTuple):
    """The batches of one step."""

    of_runs: list[RunBatch]
    arrays: list[Arrays]  # on the devices: one entry for each program that the step calls


class StepPrograms(Protocol):
    """Steps of N runs: their device states are one `TrainState`, stacked where N > 1."""

    def batches(self, step: int, data_steps: Sequence[DataSteps]) -> Generator[StepBatch]:
        """Batches from `step` to the end; closing it ends the threads that read ahead.

        data_steps: of each run.
        """
        ...

    def prepare(self, batch: StepBatch) -> None:
        """Compiles, or waits for, what `step` needs for this batch."""
        ...

    def step(
        self, train_state: TrainState, step: int, batch: StepBatch, limits: Sequence[Limits]
    ) -> tuple[TrainState, list[Arrays]]:
        """One optimizer step of each run after `step` of them; `train_state` is donated.

        Returns: the new state, and the metrics of each program that was called.
        """
        ...

    def by_run(self, metrics: list[Arrays]) -> list[Mapping[str, jax.Array | np.ndarray]]:
        """The metrics of each run; waits for the devices. Those by row may stay there."""
        ...

    def state_of(self, train_state: TrainState, number: int) -> TrainState:
        """The device state of one run, placed as if it were trained by itself."""
        ...


class SingleSteps:
    """`StepPrograms` of one run, over any number of devices."""

    def __init__(self, setup: Setup, compiled: StepTable):
        self._setup, self._compiled = setup, compiled

    def batches(self, step: int, data_steps: Sequence[DataSteps]) -> Generator[StepBatch]:
        with contextlib.closing(self._setup.device_batches(step, data_steps[0])) as source:
            for phase, batch, arrays in source:
                yield StepBatch([(phase, batch)], [arrays])

    def prepare(self, batch: StepBatch) -> None:
        ((phase, host),) = batch.of_runs
        self._compiled[phase.number, host.length]

    def step(
        self, train_state: TrainState, step: int, batch: StepBatch, limits: Sequence[Limits]
    ) -> tuple[TrainState, list[Arrays]]:
        ((phase, host),), (arrays,) = batch
        inputs = dataclasses.replace(
            self._setup.inputs(phase, step, host.length),
            loss_limit=limits[0].loss,
            grad_norm_limit=limits[0].grad_norm,
        )
        new, metrics = self._compiled[phase.number, host.length](train_state, arrays, inputs)
        return new, [metrics]

    def by_run(self, metrics: list[Arrays]) -> list[Mapping[str, jax.Array | np.ndarray]]:
        (one,) = metrics
        return [{name: x if name in BY_ROW else np.asarray(x) for name, x in one.items()}]

    def state_of(self, train_state: TrainState, number: int) -> TrainState:
        return train_state
