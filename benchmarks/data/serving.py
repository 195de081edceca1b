"""Throughput of batches on one core, for each layout and bucket, against an upper bound.

The bound is what any loader must do: slices of a memory map stacked to rows of L + 1 tokens, whose
first and last L are the int32 inputs and targets; where segments differ from batch to batch, two
more arrays to fill. It draws no order, looks up no index and finds no segments; ours does.
"""

import itertools
import mmap
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import grain
import numpy as np

from lengthwise.data.batches.assemble import assemble
from lengthwise.data.layouts import LayoutConfig, LayoutIndex, SplitDocuments, build_layout
from lengthwise.data.schedule.curriculum import CurriculumConfig
from lengthwise.data.schedule.sampling import SamplingConfig
from lengthwise.data.schedule.schedule import Schedule
from lengthwise.data.store.shard_reader import RangeReader
from lengthwise.data.store.splits import Split
from lengthwise.data.store.token_store import MANIFEST, TokenStore

TOKENS_PER_STEP = 1 << 19  # of the paper's runs
STEPS = 4  # of one measurement
NATURAL = SamplingConfig((), (), stratify=False, shuffle_blocks=0)


class AllDocuments(SplitDocuments):
    """The documents of all splits of a store."""

    def __init__(self, store: TokenStore):
        super().__init__(store, Split.TRAIN)
        self.fingerprint += " and all others"

    def select(self, first: int, last: int) -> np.ndarray:
        return np.arange(first, last)


def layout_config(**changes: object) -> LayoutConfig:
    fields: dict = {
        "name": "decompose",
        "targets": "all",
        "smallest_bucket": 64,
        "largest_bucket": 8192,
        "cut": "longest_first",
        "tails": "pack",
        "mixture": "equal_tokens" if changes.get("name", "decompose") == "decompose" else "natural",
        "shares": (),
        "document_mask": True,
        "join_order": "random",
        "window_start": 0,
        "window_rate": 0.0,
        "block_tokens": 1 << 22,
    }
    return LayoutConfig(**{**fields, **changes})


LAYOUTS = {
    "decompose": layout_config(),
    "pack, document mask": layout_config(name="pack"),
    "pack, naive": layout_config(name="pack", document_mask=False),
    "concat_and_chunk, document mask": layout_config(name="concat_and_chunk"),
    "concat_and_chunk, naive": layout_config(name="concat_and_chunk", document_mask=False),
    "window": layout_config(name="window", window_start=32, window_rate=0.125),
    "pad": layout_config(name="pad"),
}


def schedule_of(
    layout: LayoutIndex, *lengths: int, cycles: int = 8, budget_steps: int = 1000
) -> Schedule:
    """A schedule in natural proportions over some buckets."""
    groups = {length: layout.bucket_groups[length] for length in lengths}
    curriculum = CurriculumConfig("natural", (), cycles)
    return Schedule(curriculum, groups, layout.strata, NATURAL, TOKENS_PER_STEP, budget_steps, 0)


def cases(store: TokenStore) -> Iterator[tuple[str, LayoutIndex, int]]:
    """(name, layout, length) of each case."""
    for name, config in LAYOUTS.items():
        layout = build_layout(config, AllDocuments(store), seed=0)
        for length, bucket in layout.buckets.items():
            if bucket.rows * length >= TOKENS_PER_STEP:
                yield name, layout, length


def serve(reader: RangeReader, layout: LayoutIndex, schedule: Schedule, steps: range) -> int:
    """Samples and assembles the batches of `steps`; returns their tokens."""
    tokens = 0
    for step in steps:
        draw = schedule.draw(step)
        batch = assemble(reader, layout, draw.length, draw.rows, slice(None))
        tokens += batch["inputs"].size
    return tokens


def map_tokens(store: TokenStore, populate: bool) -> np.ndarray:
    """All tokens in a memory map; `populate`: with all pages resident."""
    flags = mmap.MAP_SHARED | (mmap.MAP_POPULATE if populate else 0)
    with open(one_file(store), "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ)
    return np.frombuffer(mapped, store.shards.dtype)


def slice_and_stack(tokens: np.ndarray, length: int, changing: bool, batches: np.ndarray) -> int:
    """The bound: batches [steps, B] of rows at these places of mapped tokens."""
    served = 0
    for starts in batches.tolist():
        rows = np.stack([tokens[start : start + length + 1] for start in starts])
        inputs, targets = rows[:, :-1].astype(np.int32), rows[:, 1:].astype(np.int32)
        arrays = [inputs, targets]
        if changing:
            arrays += [np.full_like(inputs, 1), np.full_like(inputs, 2)]
        served += arrays[0].size
    return served


def one_file(store: TokenStore) -> Path:
    """All tokens in one file in the folder of the store, for loaders without shards."""
    path = store.directory.with_suffix(".tokens")
    if not path.exists() or path.stat().st_mtime < (store.directory / MANIFEST).stat().st_mtime:
        store.in_memory.read(0, store.manifest.num_tokens).tofile(path)
    return path


def drop_from_page_cache(store: TokenStore) -> None:
    shards = [store.directory / entry.name for entry in store.manifest.shards]
    for path in (one_file(store), *shards):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def speed(work: Callable[[], int], clock: Callable[[], float] = time.process_time) -> float:
    """Tokens per second of `work`."""
    start = clock()
    tokens = work()
    return tokens / (clock() - start)


def compare(
    store: TokenStore, layout: LayoutIndex, length: int, rounds: int
) -> dict[str, list[float]]:
    """[rounds] tokens/s by method: processor time when warm, wall time when cold."""
    rng = np.random.default_rng(0)
    schedule = schedule_of(layout, length)
    last = store.manifest.num_tokens - length - 1
    batches = [
        assemble(store.in_memory, layout, length, schedule.draw(step).rows, slice(None))
        for step in range(STEPS)
    ]
    # Those that don't change are shared between batches.
    changing = any(batch["segment_ids"].flags.writeable for batch in batches)
    speeds: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        steps = range(number * STEPS, (number + 1) * STEPS)
        starts = rng.integers(0, last, (STEPS, TOKENS_PER_STEP // length))
        rows = length, changing, starts
        for start, count in store.shards.ranges(0, store.manifest.num_tokens):
            store.shards.read(start, count)  # into the page cache
        figures = {
            "memory": speed(partial(serve, store.in_memory, layout, schedule, steps)),
            "files": speed(partial(serve, store.shards, layout, schedule, steps)),
            "bound": speed(partial(slice_and_stack, map_tokens(store, True), *rows)),
        }
        drop_from_page_cache(store)
        figures["files, cold"] = speed(
            partial(serve, store.shards, layout, schedule, steps), time.perf_counter
        )
        drop_from_page_cache(store)
        figures["bound, cold"] = speed(
            partial(slice_and_stack, map_tokens(store, False), *rows), time.perf_counter
        )
        if number:  # the first round warms up
            for each, figure in figures.items():
                speeds.setdefault(each, []).append(figure)
    return speeds


def grain_first_fit(store: TokenStore, length: int, seconds: float) -> float:
    """Tokens/s that Grain's first-fit packing serves, of documents cut to at most L tokens."""
    offsets = store.document_offsets
    starts = np.concatenate(
        [np.arange(a, b, length) for a, b in itertools.pairwise(offsets.tolist())]
    )
    ends = np.minimum(starts + length, offsets[np.searchsorted(offsets, starts, side="right")])

    def read(piece: int) -> dict[str, np.ndarray]:
        start, end = int(starts[piece]), int(ends[piece])
        return {"tokens": store.in_memory.read(start, end - start).astype(np.int32)}

    pieces = grain.MapDataset.range(len(starts)).shuffle(seed=0).repeat().map(read)
    options = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    packed = grain.experimental.FirstFitPackIterDataset(
        pieces.to_iter_dataset(options),
        length_struct={"tokens": length},
        num_packing_bins=TOKENS_PER_STEP // length,
    ).batch(TOKENS_PER_STEP // length)
    served, iterator = 0, iter(packed)
    next(iterator)
    start = time.process_time()
    while time.process_time() - start < seconds:
        served += next(iterator)["tokens"].size
    return served / (time.process_time() - start)
