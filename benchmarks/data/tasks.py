"""Throughput of task generators, against training of a small model.

python -m lengthwise.benchmarks.data.tasks [--rounds=3]

All times are of the processor, summed over cores, so that neighbours disturb them less and a
generator on one core compares with a model on several.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import flags

from lengthwise.app.command import flag_command
from lengthwise.benchmarks.workload import Workload
from lengthwise.common.progress import ProgressBar
from lengthwise.configs import task as task_config
from lengthwise.configs.resolve import load
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.tasks.config import FormatConfig, TaskConfig
from lengthwise.data.tasks.formats import formats_of
from lengthwise.data.tasks.registry import TASKS
from lengthwise.data.tasks.samples import TaskSamples
from lengthwise.data.tasks.scratchpads import SCRATCHPAD_PARTS, TAIL_PARTS

_ROUNDS = flags.DEFINE_integer("rounds", 3, "Repetitions; the median counts.", lower_bound=1)
_SAMPLES = 2048  # a call
_LONGEST = 40


def tokens_per_second(work: Callable[[int], int], rounds: int) -> float:
    """Median over rounds; `work` of a round's number returns its tokens."""
    rates = []
    for number in range(rounds):
        start = time.process_time()
        rates.append(work(number) / (time.process_time() - start))
    return float(np.median(rates))


def generation(name: str, transforms: tuple[str, ...], rounds: int) -> float:
    """Tokens/s of generated documents."""
    form = FormatConfig(transforms, SCRATCHPAD_PARTS, TAIL_PARTS, 256, 0)
    low = TASKS[name].min_length
    lengths = (low, min(TASKS[name].max_length or _LONGEST, _LONGEST))
    samples = TaskSamples(TaskConfig(name, form, lengths, _SAMPLES, (), 0))
    samples.training(np.arange(4))  # what is listed once

    def work(number: int) -> int:
        index = np.arange(number * _SAMPLES, (number + 1) * _SAMPLES)
        return int(np.count_nonzero(samples.training(index).tokens >= 0))

    return tokens_per_second(work, rounds)


def storing(rounds: int) -> float:
    """Tokens/s into a token store, in one process."""

    def work(number: int) -> int:
        config = task_config.get_config()
        config.data.workers = 1
        config.data.task.samples = 50_000
        config.data.task.seed = number
        with tempfile.TemporaryDirectory() as folder:
            return prepare(load(config, None).data, Path(folder) / "store").manifest.num_tokens

    return tokens_per_second(work, rounds)


def training(rounds: int) -> float:
    """Tokens/s of training the model of configs/task.py, without padding."""
    config = task_config.get_config()
    config.data.task.samples = 20_000
    with tempfile.TemporaryDirectory() as folder:
        workload = Workload(config, store=Path(folder) / "store")
        layout = workload.phase.layout
        share = 1 - layout.accounting.share_padded
        lengths = list(workload.lengths)

        def work(_: int) -> int:
            workload.seconds(lengths * 8)
            return int(8 * len(lengths) * config.phase.tokens_per_step * share)

        work(0)
        return tokens_per_second(work, rounds)


def main(_: list[str]) -> None:
    rounds = _ROUNDS.value
    model = training(rounds)
    stored = storing(rounds)
    print(f"\nmodel of configs/task.py: {model:,.0f} tokens/s a core")
    print(
        f"into its store: {stored / 1e6:.2f} M tokens/s a core, {stored / model:.0f} times that\n"
    )
    print("| task | format | M tokens/s a core | of what the model takes |\n|---|---|---|---|")
    cases = [
        (name, form) for name in TASKS for form in ((), *((f,) for f in formats_of(TASKS[name])))
    ]
    rates = {
        (name, form): generation(name, form, rounds)
        for name, form in ProgressBar(cases, desc="tasks", unit="format")
    }
    for (name, form), rate in rates.items():
        if not form or name == "addition":
            what = form[0] if form else "plain"
            print(f"| {name} | {what} | {rate / 1e6:.1f} | {rate / model:.0f} x |")
    least = min(rates, key=lambda case: rates[case])
    print(
        f"\nof {len(rates)} tasks and formats the slowest is {' '.join((least[0], *least[1]))}: "
        f"{rates[least] / 1e6:.2f} M tokens/s a core, {rates[least] / model:.0f} x"
    )


if __name__ == "__main__":
    flag_command.run(main)
