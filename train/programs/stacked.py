"""The step of several runs in one program: their states, batches and seeds on a leading axis.

It is the step of a run by itself, mapped over the axis. On a CPU one run is computed after the
other inside of the program, which is faster there than all at once (docs/benchmarks.md).
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.data.batches.pipeline import HostBatch
from lengthwise.model.parallel.mesh import split_over
from lengthwise.train.mesh import replicated
from lengthwise.train.phases import Phase
from lengthwise.train.programs.blueprint import BATCH_ARRAYS
from lengthwise.train.programs.execution import Key
from lengthwise.train.programs.setup import Setup
from lengthwise.train.step.update import StepInputs, TrainState, TrainStep

Arrays = dict[str, jax.Array]
Drawn = tuple[Phase, HostBatch]


def mapped(step: TrainStep, platform: str) -> Callable[..., tuple[TrainState, Arrays]]:
    """The step over S runs: (states, batch [S, B, L], seeds [S], inputs) -> (states, metrics).

    inputs: those of any of the runs; the seeds take the place of the one in it.
    """

    def steps(
        states: TrainState, batch_SBL: Arrays, seeds_S: jax.Array, inputs: StepInputs
    ) -> tuple[TrainState, Arrays]:
        def one(state: TrainState, batch_BL: Arrays, seed: jax.Array) -> tuple[TrainState, Arrays]:
            return step(state, batch_BL, dataclasses.replace(inputs, seed=seed))

        over = (states, batch_SBL, seeds_S)
        if platform == "cpu":
            found: tuple[TrainState, Arrays] = jax.lax.map(lambda each: one(*each), over)
            return found
        return jax.vmap(one)(*over)

    return steps


class DifferentBucketsError(UserError):
    """The samples of runs fill different buckets, so that no program is that of all of them."""


class StackedSteps:
    """Compiled steps of S runs whose settings differ in nothing but their seeds, on one device.

    Raises:
      DifferentBucketsError: see there.
      UserError: there are several devices.
    """

    def __init__(self, setups: Sequence[Setup]):
        first = setups[0]
        if len(first.devices) > 1:
            raise UserError(
                f"runs are trained together on one device, but there are {len(first.devices)}"
            )
        if any(setup.executions.keys() != first.executions.keys() for setup in setups):
            raise DifferentBucketsError(
                "runs whose samples fill different buckets can't be trained together; train them "
                "one after the other"
            )
        self._setup = first
        self._seeds_S = np.array([each.config.seeds.dropout for each in setups], np.uint32)
        self._everywhere = replicated(first.home)
        self._places = jax.tree.map(lambda x: x.sharding, first.abstract_state)
        self._take = jax.jit(_at, out_shardings=self._places)
        self._whole = functools.cache(self._compile)
        self._single = functools.cache(self._compile_single)

    def stack(self, states: Sequence[TrainState]) -> TrainState:
        """The states on a leading axis."""
        return jax.jit(
            lambda *each: jax.tree.map(lambda *x: jnp.stack(x), *each),
            out_shardings=self._everywhere,
        )(*states)

    def state_of(self, states: TrainState, number: int) -> TrainState:
        """The state of one run, placed as if it had been trained by itself."""
        state: TrainState = self._take(states, np.int32(number))
        return state

    def prepare(self, drawn: Sequence[Drawn]) -> None:
        """Compiles what `step` needs for these batches, where it isn't there yet."""
        keys = [_key(each) for each in drawn]
        if len(set(keys)) == 1:
            self._whole(keys[0])
        else:
            for key in keys:
                self._single(key)

    def step(
        self, states: TrainState, step: int, drawn: Sequence[Drawn]
    ) -> tuple[TrainState, Callable[[], list[dict[str, np.ndarray]]]]:
        """One step of each run; `step` are those done before it. The states are used up.

        Where the runs draw batches of different buckets, one is computed after the other.

        Returns: the new states, and what waits for the metrics of each run.
        """
        keys = [_key(each) for each in drawn]
        if len(set(keys)) == 1:
            batch_SBL = {
                name: np.stack([batch.arrays[name] for _, batch in drawn]) for name in BATCH_ARRAYS
            }
            inputs = self._setup.inputs(drawn[0][0], step, keys[0][1])
            states, metrics = self._whole(keys[0])(states, batch_SBL, self._seeds_S, inputs)
            return states, lambda: _by_run(metrics, len(drawn))
        found = []
        for number, ((phase, batch), key) in enumerate(zip(drawn, keys, strict=True)):
            inputs = dataclasses.replace(
                self._setup.inputs(phase, step, batch.length), seed=self._seeds_S[number]
            )
            arrays = {name: batch.arrays[name] for name in BATCH_ARRAYS}
            states, one = self._single(key)(states, np.int32(number), arrays, inputs)
            found.append(one)
        return states, lambda: jax.device_get(found)

    def _compile(self, key: Key) -> Callable:
        step = mapped(self._setup.train_step(key), self._setup.platform)
        batch, inputs = self._operands(key)
        batch_SBL = {name: self._stacked(x) for name, x in batch.items()}
        seeds_S = self._abstract(self._seeds_S.shape, np.uint32)
        return self._lowered(step, key, batch_SBL, seeds_S, inputs)

    def _compile_single(self, key: Key) -> Callable:
        """(states, number of a run, its batch, inputs) -> states with its new one, its metrics."""
        step = self._setup.train_step(key)

        def of_one(
            states: TrainState, number: jax.Array, batch_BL: Arrays, inputs: StepInputs
        ) -> tuple[TrainState, Arrays]:
            new, metrics = step(_at(states, number), batch_BL, inputs)
            return jax.tree.map(lambda all_, x: all_.at[number].set(x), states, new), metrics

        batch, inputs = self._operands(key)
        return self._lowered(of_one, key, self._abstract((), np.int32), batch, inputs)

    def _operands(self, key: Key) -> tuple[dict[str, jax.ShapeDtypeStruct], StepInputs]:
        """The batch of one run and what comes with it, abstract."""
        number, length = key
        phase = self._setup.phases.phases[number]
        tokens = self._abstract((phase.batch_size(length), length), np.int32)
        inputs = self._setup.inputs(phase, phase.first_step, length)
        placed = jax.tree.map(lambda x: self._abstract(x.shape, x.dtype), inputs)
        return dict.fromkeys(BATCH_ARRAYS, tokens), placed

    def _lowered(self, program: Callable, key: Key, *operands: Any) -> Callable:
        """(states, *operands) -> states, which takes their place, and metrics; compiled."""
        states = jax.tree.map(self._stacked, self._setup.abstract_state)
        compiled = jax.jit(program, donate_argnums=0, out_shardings=self._everywhere)
        with split_over(self._setup.mesh(key)):
            return compiled.lower(states, *operands).compile()

    def _stacked(self, of_one: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return self._abstract((self._seeds_S.size, *of_one.shape), of_one.dtype)

    def _abstract(self, shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=self._everywhere)


def _key(drawn: Drawn) -> Key:
    phase, batch = drawn
    return phase.number, batch.length


def _at(states: TrainState, number: jax.Array | np.int32) -> TrainState:
    return jax.tree.map(lambda x: x[number], states)


def _by_run(metrics: Arrays, runs: int) -> list[dict[str, np.ndarray]]:
    fetched = jax.device_get(metrics)
    return [{name: x[number] for name, x in fetched.items()} for number in range(runs)]
