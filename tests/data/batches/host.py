"""One process of several, as the many-hosts test starts it: reads its part of some steps' batches.

Without jax: what a process holds is a matter of rows and columns.
"""

import os
from pathlib import Path

import numpy as np

from lengthwise.data.batches.pipeline import check_reading, store_batches
from lengthwise.data.config import ReadingConfig
from lengthwise.data.layouts import SplitDocuments, build_layout
from lengthwise.data.schedule.curriculum import CurriculumConfig
from lengthwise.data.schedule.sampling import DomainWeight, SamplingConfig
from lengthwise.data.schedule.schedule import Schedule
from lengthwise.data.store.splits import Split
from lengthwise.data.store.token_store import TokenStore
from tests.data.layouts.layout_cases import changed

TOKENS_PER_STEP = 512
LAYOUT = changed(smallest_bucket=16, largest_bucket=128, block_tokens=2_000)
SAMPLING = SamplingConfig(
    (DomainWeight("even", 0.7), DomainWeight("odd", 0.3)), (), stratify=False, shuffle_blocks=2
)


def part_of(length: int, process: int, processes: int) -> tuple[np.ndarray, slice]:
    """Rows and columns of a process: rows first, columns where there are fewer rows."""
    rows = TOKENS_PER_STEP // length
    by_rows = min(rows, processes)
    by_columns = processes // by_rows
    row_part, column_part = divmod(process, by_columns)
    height, width = rows // by_rows, length // by_columns
    return (
        np.arange(row_part * height, (row_part + 1) * height),
        slice(column_part * width, (column_part + 1) * width),
    )


def held_of(length: int, process: int, processes: int) -> tuple[np.ndarray, list[slice]]:
    """As `part_of`, for the pipeline."""
    rows, columns = part_of(length, process, processes)
    return rows, [columns]


def read_part(
    store_path: Path, output: Path, stage: str, process: int, processes: int, steps: range
) -> None:
    """Writes the arrays of each step, and how many bytes of shards were read, to `output` (.npz).

    Args:
      stage: a directory to stage blocks in, or empty.
    """
    store = TokenStore.open(store_path, verify=False)
    layout = build_layout(LAYOUT, SplitDocuments(store, Split.TRAIN), seed=1)
    schedule = Schedule(
        CurriculumConfig("uniform", (), 2), layout.bucket_groups, layout.strata, SAMPLING,
        TOKENS_PER_STEP, 40, 1,
    )  # fmt: skip
    reading = ReadingConfig(
        reader_threads=2, prefetch=2, memory_bytes=0, stage_directory=stage,
        stage_blocks=schedule.open_blocks,
    )  # fmt: skip
    check_reading(reading, store, layout, schedule)
    read = 0
    pread = os.pread

    def counted(file: int, size: int, offset: int) -> bytes:
        nonlocal read
        data = pread(file, size, offset)
        read += len(data)
        return data

    os.pread = counted
    found = {}
    for batch in store_batches(
        store,
        layout,
        schedule,
        reading,
        steps,
        lambda length: held_of(length, process, processes),
    ):
        for name, array in batch.arrays.items():
            found[f"{batch.step} {name}"] = array
        found[f"{batch.step} rows"], found[f"{batch.step} strata"] = batch.rows, batch.strata
        found[f"{batch.step} length"] = np.array(batch.length)
    np.savez(output, read=read, **found)
