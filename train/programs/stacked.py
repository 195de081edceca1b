"""Steps of several runs in one program: states, batches and seeds have a leading axis S.

The program is the step of a single run, mapped over the axis. On a CPU the mapped steps are
computed one after the other, which is faster there than all at once (docs/benchmarks.md).
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lengthwise.common.errors import UserError
from lengthwise.model.parallel.mesh import use_mesh
from lengthwise.train.mesh import replicated
from lengthwise.train.programs.blueprint import BATCH_ARRAYS
from lengthwise.train.programs.execution import Key
from lengthwise.train.programs.setup import Setup
from lengthwise.train.programs.steps import Arrays, RunBatch, StepBatch
from lengthwise.train.rules.anomaly import Limits
from lengthwise.train.rules.data_steps import DataSteps
from lengthwise.train.step.update import StepInputs, TrainState, TrainStep


def mapped(step: TrainStep, platform: str) -> Callable[..., tuple[TrainState, Arrays]]:
    """Maps a step over S runs: (states, batch [S, B, L], seeds [S], inputs) -> (states, metrics).

    inputs: of any of the runs; `seeds` replace the seed in it.
    """

    def steps(
        states: TrainState, batch_SBL: Arrays, seeds_S: jax.Array, inputs: StepInputs
    ) -> tuple[TrainState, Arrays]:
        def one(state: TrainState, batch_BL: Arrays, seed: jax.Array) -> tuple[TrainState, Arrays]:
            return step(state, batch_BL, dataclasses.replace(inputs, seed=seed))

        over = (states, batch_SBL, seeds_S)
        if platform == "cpu":
            results: tuple[TrainState, Arrays] = jax.lax.map(lambda each: one(*each), over)
            return results
        return jax.vmap(one)(*over)

    return steps


class DifferentBucketsError(UserError):
    """The samples of runs fill different buckets, so that no program serves all of them."""


def check_stackable(setups: Sequence[Setup]) -> None:
    """Checks that runs can be trained in lockstep.

    Raises:
      DifferentBucketsError: their samples fill different buckets.
      UserError: there are several devices, or phases that rules end.
    """
    devices = setups[0].blueprint.devices
    if len(devices) > 1:
        raise UserError(f"runs are trained together on one device, but there are {len(devices)}")
    if any(phase.end.conditions for setup in setups for phase in setup.config.phases):
        raise UserError(
            "runs whose phases end by phase.end.conditions can't be trained together; train them "
            "one after the other"
        )
    if len({frozenset(setup.blueprint.executions) for setup in setups}) > 1:
        raise DifferentBucketsError(
            "runs whose samples fill different buckets can't be trained together; train them "
            "one after the other"
        )


class StackedSteps:
    """`StepPrograms` of S runs whose settings differ in nothing but their seeds, on one device.

    Where all runs draw the same bucket, one program computes the step of all; else each run's step
    is computed after the other's.
    """

    def __init__(self, setups: Sequence[Setup]):
        self._setups = setups
        self._setup = setups[0]
        self._blueprint = blueprint = setups[0].blueprint
        self._seeds_S = np.array([each.config.resolved_seeds.dropout for each in setups], np.uint32)
        self._everywhere = replicated(blueprint.home)
        self._placements = jax.tree.map(lambda x: x.sharding, blueprint.abstract_state)
        self._take = jax.jit(_at, out_shardings=self._placements)
        self._whole = functools.cache(self._compile)
        self._single = functools.cache(self._compile_single)

    def stack(self, states: Sequence[TrainState]) -> TrainState:
        """Stacks states of single runs on a leading axis S."""
        return jax.jit(
            lambda *each: jax.tree.map(lambda *x: jnp.stack(x), *each),
            out_shardings=self._everywhere,
        )(*states)

    def state_of(self, train_state: TrainState, number: int) -> TrainState:
        state: TrainState = self._take(train_state, np.int32(number))
        return state

    def batches(self, step: int, data_steps: Sequence[DataSteps]) -> Generator[StepBatch]:
        with contextlib.ExitStack() as stack:
            sources = [
                stack.enter_context(contextlib.closing(setup.host_batches(step, own)))
                for setup, own in zip(self._setups, data_steps, strict=True)
            ]
            for of_runs in zip(*sources, strict=True):
                hosts = [[batch.arrays[n] for _, batch in of_runs] for n in BATCH_ARRAYS]
                if len(set(map(_key, of_runs))) == 1:
                    arrays = [dict(zip(BATCH_ARRAYS, map(np.stack, hosts), strict=True))]
                else:
                    arrays = [
                        dict(zip(BATCH_ARRAYS, own, strict=True))
                        for own in zip(*hosts, strict=True)
                    ]
                yield StepBatch(list(of_runs), jax.device_put(arrays, self._everywhere))

    def prepare(self, batch: StepBatch) -> None:
        keys = map(_key, batch.of_runs)
        if len(batch.arrays) == 1:
            self._whole(next(keys))
        else:
            for key in keys:
                self._single(key)

    def step(
        self, train_state: TrainState, step: int, batch: StepBatch, limits: Sequence[Limits]
    ) -> tuple[TrainState, list[Arrays]]:
        if len(batch.arrays) == 1:
            phase, host = batch.of_runs[0]
            inputs = self._setup.inputs(phase, step, host.length)
            program = self._whole(_key(batch.of_runs[0]))
            train_state, metrics = program(train_state, batch.arrays[0], self._seeds_S, inputs)
            return train_state, [metrics]
        of_runs = []
        for number, (run_batch, arrays) in enumerate(zip(*batch, strict=True)):
            phase, host = run_batch
            inputs = dataclasses.replace(
                self._setup.inputs(phase, step, host.length), seed=self._seeds_S[number]
            )
            program = self._single(_key(run_batch))
            train_state, metrics = program(train_state, np.int32(number), arrays, inputs)
            of_runs.append(metrics)
        return train_state, of_runs

    def by_run(self, metrics: list[Arrays]) -> list[Mapping[str, jax.Array | np.ndarray]]:
        fetched = jax.device_get(metrics)
        if len(fetched) > 1:
            return list(fetched)
        return [{name: x[n] for name, x in fetched[0].items()} for n in range(self._seeds_S.size)]

    def _compile(self, key: Key) -> Callable:
        step = mapped(self._blueprint.train_step(key), self._blueprint.platform)
        batch, inputs = self._operands(key)
        batch_SBL = {name: self._stacked(x) for name, x in batch.items()}
        seeds_S = self._abstract(self._seeds_S.shape, np.uint32)
        return self._lowered(step, key, batch_SBL, seeds_S, inputs)

    def _compile_single(self, key: Key) -> Callable:
        """Compiles (states, run, its batch, inputs) -> (states with that run's new, metrics)."""
        step = self._blueprint.train_step(key)

        def of_one(
            states: TrainState, number: jax.Array, batch_BL: Arrays, inputs: StepInputs
        ) -> tuple[TrainState, Arrays]:
            new, metrics = step(_at(states, number), batch_BL, inputs)
            return jax.tree.map(lambda all_, x: all_.at[number].set(x), states, new), metrics

        batch, inputs = self._operands(key)
        return self._lowered(of_one, key, self._abstract((), np.int32), batch, inputs)

    def _operands(self, key: Key) -> tuple[dict[str, jax.ShapeDtypeStruct], StepInputs]:
        """Abstract batch and inputs of one run."""
        number, length = key
        phase = self._setup.phases.phases[number]
        tokens = self._abstract((phase.batch_size(length), length), np.int32)
        inputs = self._setup.inputs(phase, phase.first_step, length)
        placed = jax.tree.map(lambda x: self._abstract(x.shape, x.dtype), inputs)
        return dict.fromkeys(BATCH_ARRAYS, tokens), placed

    def _lowered(self, program: Callable, key: Key, *operands: Any) -> Callable:
        """Compiles (states, *operands) -> (states, metrics), which donates the states."""
        states = jax.tree.map(self._stacked, self._blueprint.abstract_state)
        compiled = jax.jit(program, donate_argnums=0, out_shardings=self._everywhere)
        with use_mesh(self._blueprint.mesh(key)):
            return compiled.lower(states, *operands).compile()

    def _stacked(self, of_one: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return self._abstract((self._seeds_S.size, *of_one.shape), of_one.dtype)

    def _abstract(self, shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=self._everywhere)


def _key(batch: RunBatch) -> Key:
    phase, host = batch
    return phase.number, host.length


def _at(states: TrainState, number: jax.Array | np.int32) -> TrainState:
    return jax.tree.map(lambda x: x[number], states)
