"""Data stalls on slow storage: full shuffle, blocks, staged blocks.

python -m lengthwise.benchmarks.data.staging [--milliseconds=20] [--steps=60]

Every request to the shards sleeps first, as one through gcsfuse to a bucket does, and a step of the
device is a sleep as well. Same tokens, same readers, same number of batches ahead.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from absl import flags

from lengthwise.app.command import flag_command
from lengthwise.benchmarks.data.serving import AllDocuments, layout_config
from lengthwise.benchmarks.workload import STORE
from lengthwise.configs import base
from lengthwise.configs.resolve import load
from lengthwise.data.batches.pipeline import check_reading, store_batches
from lengthwise.data.config import ReadingConfig
from lengthwise.data.layouts import LayoutIndex, build_layout
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.schedule.curriculum import CurriculumConfig
from lengthwise.data.schedule.sampling import SamplingConfig
from lengthwise.data.schedule.schedule import Schedule
from lengthwise.data.store.shard_reader import ShardReader
from lengthwise.data.store.token_store import TokenStore

_MILLISECONDS = flags.DEFINE_float("milliseconds", 20, "A request takes.", lower_bound=0)
_STEPS = flags.DEFINE_integer("steps", 60, "Steps of each method.", lower_bound=1)

TOKENS_PER_STEP = 16_384
STEP_SECONDS = 0.1  # of the device
WARM_UP = 10  # steps until the first copies are there, reported apart


class DistantShards:
    """Shards with a delay for each read; reads of a batch are sequential."""

    def __init__(self, shards: ShardReader, seconds: float):
        self._shards, self._seconds = shards, seconds
        self.dtype, self.ranges, self.num_tokens = shards.dtype, shards.ranges, shards.num_tokens
        self.requests = 0

    def _wait(self, requests: int) -> None:
        self.requests += requests
        time.sleep(requests * self._seconds)

    def read(self, start: int, length: int) -> np.ndarray:
        self._wait(1)
        return self._shards.read(start, length)

    def read_rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        self._wait(starts.size)
        return self._shards.read_rows(starts, length)

    def read_pieces(self, starts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        self._wait(starts.size)
        return self._shards.read_pieces(starts, tokens)


def schedule_of(layout: LayoutIndex, shuffle_blocks: int) -> Schedule:
    sampling = SamplingConfig((), (), stratify=False, shuffle_blocks=shuffle_blocks)
    curriculum = CurriculumConfig("grow_p2", (), 8)
    groups = layout.bucket_groups
    return Schedule(curriculum, groups, layout.strata, sampling, TOKENS_PER_STEP, 1600, 0)


def waits(
    store: TokenStore, layout: LayoutIndex, schedule: Schedule, config: ReadingConfig
) -> np.ndarray:
    """[steps] seconds of waiting for the batch."""

    def everything(length: int) -> tuple[np.ndarray, list[slice]]:
        return np.arange(TOKENS_PER_STEP // length), [slice(None)]

    check_reading(config, store, layout, schedule)
    served: Iterator = store_batches(
        store, layout, schedule, config, range(_STEPS.value + WARM_UP), everything
    )
    seconds = []
    start = time.perf_counter()
    for _ in served:
        seconds.append(time.perf_counter() - start)
        time.sleep(STEP_SECONDS)
        start = time.perf_counter()
    return np.array(seconds)


def main(_: list[str]) -> None:
    store = prepare(load(base.get_config(), None).data, Path(STORE))
    near = store.shards
    config = layout_config(smallest_bucket=256, largest_bucket=4096, block_tokens=1 << 18)
    layout = build_layout(config, AllDocuments(store), seed=0)
    print(
        "| method | share of the time spent waiting | in the first "
        f"{WARM_UP} steps | requests a step |\n|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, blocks, stage in (
            ("full shuffle", 0, ""),
            ("blocks, 4 at a time", 4, ""),
            ("blocks, 4 at a time, staged", 4, folder),
        ):
            schedule = schedule_of(layout, blocks)
            store.shards = distant = DistantShards(near, _MILLISECONDS.value / 1000)  # type: ignore[assignment]
            reading = ReadingConfig(
                reader_threads=2,
                prefetch=4,
                memory_bytes=0,
                stage_directory=stage,
                stage_blocks=2 * schedule.open_blocks if stage else 0,
            )
            waited = waits(store, layout, schedule, reading)
            shares = [
                part.sum() / (part.sum() + part.size * STEP_SECONDS)
                for part in (waited[WARM_UP:], waited[:WARM_UP])
            ]
            requests = distant.requests / waited.size
            print(f"| {name} | {shares[0]:.1%} | {shares[1]:.1%} | {requests:.1f} |", flush=True)


if __name__ == "__main__":
    flag_command.run(main)
