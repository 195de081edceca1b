"""Throughput of the data pipeline: preparing, serving each layout and bucket, resuming.

python -m lengthwise.benchmarks.data.pipeline [--rounds=5] [--olmo_python=PATH]

On the tokens of the interpreter's library, one core. Times are of the processor, so that neighbours
disturb them less; cold reads and resuming are wall time. `--olmo_python` names a Python that has
ai2-olmo-core, the public loader for this job, to measure beside ours; to make one:

    python3.11 -m venv olmo && olmo/bin/pip install -r benchmarks/requirements-olmo.txt
"""

import json
import subprocess
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from absl import flags

from lengthwise.app.command import flag_command
from lengthwise.benchmarks.data import prepare as preparing
from lengthwise.benchmarks.data import serving
from lengthwise.benchmarks.workload import STORE, median_interval
from lengthwise.common.errors import UserError
from lengthwise.configs import base
from lengthwise.configs.resolve import load
from lengthwise.data.batches.pipeline import store_batches
from lengthwise.data.config import ReadingConfig
from lengthwise.data.layouts import build_layout
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.store.token_store import TokenStore

# --rounds is defined in benchmarks.data.prepare.
_OLMO_PYTHON = flags.DEFINE_string("olmo_python", "", "A Python that has ai2-olmo-core.")

_OLMO_BUCKETS = 256, 8192  # its smallest is 256 where nothing else is asked for
_SECONDS = 1  # of a measurement of a rival that draws as it goes


def report_preparing(rounds: int) -> None:
    print(
        "\nPrepared\n\n| tokenizer | M tokens/s a core | of encoding alone (95 %) |\n|---|---|---|"
    )
    for method in preparing.measure(rounds):
        print(
            f"| {method.name} | {method.tokens_per_second / 1e6:.2f} | {_interval(method.ratio)} |"
        )


def report_serving(store: TokenStore, rounds: int) -> None:
    print(
        "\nServed, M tokens/s a core, and the share of the memory-mapped bound (95 %)\n\n"
        "| layout | L | from memory | from files | files, cold | bound | bound, cold "
        "| memory / bound | files / bound | cold files / cold bound |\n" + "|---" * 10 + "|"
    )
    for name, layout, length in serving.cases(store):
        by_method = serving.compare(store, layout, length, rounds)
        speeds = [
            f"{np.median(by_method[method]) / 1e6:.0f}"
            for method in ("memory", "files", "files, cold", "bound", "bound, cold")
        ]
        ratios = [
            _interval(median_interval(np.divide(by_method[a], by_method[b]).tolist()))
            for a, b in (
                ("memory", "bound"), ("files", "bound"), ("files, cold", "bound, cold"),
            )
        ]  # fmt: skip
        print("| " + " | ".join([name, str(length), *speeds, *ratios]) + " |", flush=True)


def report_grain(store: TokenStore, rounds: int) -> None:
    layout = build_layout(serving.LAYOUTS["pack, document mask"], serving.AllDocuments(store), 0)
    schedule = serving.schedule_of(layout, 8192)
    ratios, theirs = [], []
    for number in range(rounds):
        steps = range(number * serving.STEPS, (number + 1) * serving.STEPS)
        ours = serving.speed(partial(serving.serve, store.in_memory, layout, schedule, steps))
        theirs.append(serving.grain_first_fit(store, 8192, _SECONDS))
        ratios.append(ours / theirs[-1])
    print(
        f"\nGrain's first-fit packing at 8192: {np.median(theirs) / 1e6:.2f} M tokens/s; "
        f"pack, document mask / Grain: {_interval(median_interval(ratios))}"
    )


def report_olmo(store: TokenStore, rounds: int, python: str) -> None:
    if not python:
        print(
            "\nai2-olmo-core's NumpyVSLDataset is not measured: give --olmo_python=PATH "
            "(see the top of benchmarks/data/pipeline.py)"
        )
        return
    smallest, largest = _OLMO_BUCKETS
    arguments = [
        python, "benchmarks/data/olmo_vsl.py", str(serving.one_file(store).resolve()),
        store.shards.dtype.name,
        *map(str, (store.manifest.end_of_text, store.manifest.vocab_size, smallest, largest)),
        str(_SECONDS),
    ]  # fmt: skip
    config = serving.layout_config(smallest_bucket=smallest, largest_bucket=largest)
    builds = []
    for _ in range(rounds):
        start = time.perf_counter()
        layout = build_layout(config, serving.AllDocuments(store), 0)
        builds.append(time.perf_counter() - start)
    schedule = serving.schedule_of(layout, *layout.buckets)
    ratios, theirs = [], []
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as rival:
        assert rival.stdin is not None
        assert rival.stdout is not None
        first = rival.stdout.readline()
        if not first:
            raise UserError(f"--olmo_python={python} ended: it has no ai2-olmo-core")
        index = json.loads(first)
        for number in range(rounds):
            print(file=rival.stdin, flush=True)
            figures = json.loads(rival.stdout.readline())
            theirs.append(figures["tokens"] / figures["seconds"])
            steps = range(number * serving.STEPS, (number + 1) * serving.STEPS)
            ours = serving.speed(partial(serving.serve, store.in_memory, layout, schedule, steps))
            ratios.append(ours / theirs[-1])
        rival.stdin.close()
    print(
        f"\nai2-olmo-core's NumpyVSLDataset, buckets {smallest} to {largest}: index "
        f"{index['index_seconds']:.2f} s, ours {np.median(builds):.2f} s; it serves "
        f"{np.median(theirs) / 1e6:.1f} M tokens/s; ours / theirs: "
        f"{_interval(median_interval(ratios))}"
    )


def report_resuming(store: TokenStore, rounds: int) -> None:
    layout = build_layout(serving.LAYOUTS["decompose"], serving.AllDocuments(store), 0)
    reading = ReadingConfig(2, 4, 1 << 28, "", 0)

    def everything(length: int) -> tuple[np.ndarray, list[slice]]:
        return np.arange(serving.TOKENS_PER_STEP // length), [slice(None)]

    print("\nms to the first batch, from a new schedule on (95 %)\n")
    print("| cycles of | step 10 | step 1,000,000 |\n|---|---|---|")
    for cycles in (8, 1000):
        milliseconds: dict[int, list[float]] = {10: [], 1_000_000: []}
        for _ in range(rounds + 1):
            for step, times in milliseconds.items():
                start = time.perf_counter()
                schedule = serving.schedule_of(layout, *layout.buckets, cycles=cycles)
                steps = range(step, step + 1000)
                served = store_batches(store, layout, schedule, reading, steps, everything)
                next(served)
                times.append(1000 * (time.perf_counter() - start))
                served.close()  # type: ignore[attr-defined]
        first, late = (_interval(median_interval(times[1:])) for times in milliseconds.values())
        print(f"| {1000 // cycles} steps | {first} | {late} |")


def _interval(values: tuple[float, float, float] | Sequence[float]) -> str:
    return "{:.2f} ({:.2f}-{:.2f})".format(*values)


def main(_: list[str]) -> None:
    store = prepare(load(base.get_config(), None).data, Path(STORE))
    rounds = flags.FLAGS.rounds
    print(f"{store.manifest.num_tokens / 1e6:.1f} M tokens of {store.manifest.source}")
    report_serving(store, rounds)
    report_grain(store, rounds)
    report_olmo(store, rounds, _OLMO_PYTHON.value)
    report_resuming(store, rounds)

    report_preparing(rounds)


if __name__ == "__main__":
    flag_command.run(main)
