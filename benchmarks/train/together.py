"""Time of a trial alone, and in one program with other seeds of its arm.

python -m lengthwise.benchmarks.train.together [--seeds=3,10] [--steps=200] [--rounds=5]

First the step alone: a program a seed, one seed after the other inside a program, all at once
(jax.vmap). Then whole trials of majority at the CPU scale: preparing, compiling with a cold cache,
training, two evaluations and the final scoring.
"""

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from lengthwise.app.command import flag_command
from lengthwise.configs.resolve import load
from lengthwise.data.prepare.prepare import prepare
from lengthwise.experiments.definition import ExperimentDefinition
from lengthwise.experiments.definitions import EXPERIMENTS
from lengthwise.experiments.trial_results import read_trial
from lengthwise.experiments.trials import run_trials
from lengthwise.model.parallel.mesh import use_mesh
from lengthwise.train.metrics.writer import read_rows
from lengthwise.train.phases import Phases
from lengthwise.train.programs.setup import Setup
from lengthwise.train.programs.stacked import mapped
from lengthwise.train.rules.data_steps import EVERY_DATA_STEP

_SEEDS = flag_command.define_numbers("seeds", [3, 10], "Seeds of an arm.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 200, "Optimizer steps of a trial.", lower_bound=4)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Of the step alone; the median counts.", lower_bound=1)
_CAUSES = ("compile", "steps", "evaluation")
_NAMES = ("by itself", "one after the other", "all at once")


def majority(steps: int) -> ExperimentDefinition:
    """One arm with few steps."""
    experiment = EXPERIMENTS["majority_parity"]
    short = {
        **experiment.scales["cpu"],
        "phase.steps": steps,
        "optimizer.warmup_steps": steps // 4,
        "train.eval_every": steps // 2,
        "train.checkpoint_every": steps // 2,
    }
    return dataclasses.replace(experiment, arms=experiment.arms[:1], scales={"cpu": short})


def step_times(setup: Setup, seeds: int, rounds: int) -> list[tuple[str, float, float]]:
    """(name, seconds of compiling, median seconds a step and seed) of each method."""
    phase = setup.phases.phases[0]
    length = max(phase.lengths)
    key = (0, length)
    with contextlib.closing(setup.host_batches(0, EVERY_DATA_STEP)) as batches:
        batch = next(batch for _, batch in batches if batch.length == length)
    seeds_S = np.arange(seeds, dtype=np.uint32)
    inputs = setup.inputs(phase, 0, length)
    step = setup.blueprint.train_step(key)

    def stacked(tree: Any) -> Any:
        return jax.tree.map(lambda x: np.stack([np.asarray(x)] * seeds), tree)

    def copy(tree: Any) -> Any:
        return jax.tree.map(lambda x: jax.device_put(np.asarray(x)), tree)

    state = jax.device_get(setup.initial_state())
    single = (state, batch.arrays, inputs)
    several = (stacked(state), stacked(batch.arrays), seeds_S, inputs)
    methods: list[tuple[Callable, tuple]] = [
        (step, single),
        (mapped(step, "cpu"), several),
        (mapped(step, "gpu"), several),
    ]
    compiled, compiling, states = [], [], []
    for method, operands in methods:
        start = time.perf_counter()
        with use_mesh(setup.blueprint.mesh(key)):
            compiled.append(jax.jit(method, donate_argnums=0).lower(*operands).compile())
        compiling.append(time.perf_counter() - start)
        states.append(copy(operands[0]))
    seconds: list[list[float]] = [[] for _ in methods]
    for _ in range(rounds):
        for number, (_, operands) in enumerate(methods):
            start = time.perf_counter()
            for _ in range(seeds if number == 0 else 1):
                states[number], metrics = compiled[number](states[number], *operands[1:])
                metrics["loss"].block_until_ready()
            seconds[number].append((time.perf_counter() - start) / seeds)
    medians = (float(np.median(each)) for each in seconds)
    return list(zip(_NAMES, compiling, medians, strict=True))


def trial_times(experiment: ExperimentDefinition, seeds: int, together: int) -> dict[str, float]:
    """Seconds a trial, in all and by cause of its goodput account."""
    trials = experiment.trials("cpu", seeds)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        start = time.perf_counter()
        if run_trials(trials, directory, together):
            raise SystemExit("ended by a signal")
        seconds = {"all": (time.perf_counter() - start) / seeds}
        accounts = []
        for trial in trials:
            assert read_trial(trial, directory / trial.name).together == together
            rows = read_rows(directory / trial.name / "metrics.jsonl")
            accounts.append([row for row in rows if row["kind"] == "goodput"][-1])
    for cause in _CAUSES:
        seconds[cause] = float(np.mean([account[f"{cause}_seconds"] for account in accounts]))
    return seconds


def main(_: list[str]) -> None:
    experiment = majority(_STEPS.value)
    seeds = _SEEDS.value
    config = load(experiment.trials("cpu", 1)[0].config(), None)
    with tempfile.TemporaryDirectory() as folder:
        phases = Phases(config.phases, prepare(config.data, Path(folder)), config.resolved_seeds)
        setup = Setup(config, phases, jax.devices()[:1])
        for count in seeds:
            for name, compiling, seconds in step_times(setup, count, _ROUNDS.value):
                print(
                    f"{count} seeds, {name}: compiled in {compiling:.1f} s, "
                    f"{seconds * 1e3:.1f} ms a seed's step",
                    flush=True,
                )
    for count in seeds:
        for together in (1, count):
            times = trial_times(experiment, count, together)
            parts = ", ".join(f"{name} {times[name]:.1f}" for name in _CAUSES)
            print(
                f"{count} seeds, {together} together: {times['all']:.1f} s a trial ({parts})",
                flush=True,
            )


if __name__ == "__main__":
    flag_command.run(main)
