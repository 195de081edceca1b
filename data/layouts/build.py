"""Builds a layout index block by block, in threads, in memory that the block size bounds."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from lengthwise.common.cores import available_cores
from lengthwise.common.progress import ProgressBar
from lengthwise.common.trees import values_of
from lengthwise.data.layouts.config import Layout, LayoutConfig
from lengthwise.data.layouts.documents import Blocks, DocumentSet
from lengthwise.data.layouts.index import shift_references
from lengthwise.data.layouts.index_file import (
    IndexFiles,
    IndexMemory,
    IndexWriter,
    LayoutIndex,
    has_index,
    open_index,
)
from lengthwise.data.layouts.rows import CellRows
from lengthwise.data.layouts.tally import BlockRows, BucketPart, Tally

FORMAT_VERSION = 2
# Each thread has the documents of a block in memory, some 200 bytes a document.
_THREADS = min(4, available_cores())

CellPlans = dict[tuple[int, int], np.ndarray]  # by block and stratum; see Layout.plan
Item = TypeVar("Item")
Result = TypeVar("Result")


def build_layout(
    config: LayoutConfig,
    documents: DocumentSet,
    seed: int,
    directory: Path | None = None,
    length_bins: tuple[int, ...] = (),
    verify: bool = False,
) -> LayoutIndex:
    """Lays out documents, or opens the index that an earlier call left in `directory`.

    Args:
      seed: seed of the random choices of a layout: sequences that a mixture halves, order of
        concatenation, random cuts.
      directory: folder of indices, by a key of all that decides their rows; None: in memory. One
        process at a time may build in it.
      length_bins: tokens at which a stratum of longer documents begins, ascending.
      verify: whether to read all of an existing index and compare its checksums.

    Raises:
      UserError: no documents, or none long enough for a single sequence; the index cannot be
        written or is damaged.
    """
    key = _key(config, documents, seed, length_bins)
    if directory is not None and has_index(directory / key):
        return open_index(directory / key, config, verify=verify)
    layout = config.kind
    blocks = Blocks(documents, config.block_tokens, length_bins)
    tally = Tally(layout, blocks.strata)
    writer: IndexWriter = IndexMemory() if directory is None else IndexFiles(directory / key)
    with writer, ThreadPoolExecutor(_THREADS) as pool:
        plans = _plan_cells(layout, blocks, pool)

        def lay_out(block: int) -> BlockRows:
            return _lay_out_block(layout, documents, blocks, block, seed, plans)

        block_rows = _in_order(pool, lay_out, range(len(blocks)))
        bar = ProgressBar(block_rows, "layout", len(blocks), unit="block", delay=2, leave=False)
        for rows in bar:
            for length, part in rows.buckets.items():
                shift_references(part.entries, tally.pieces(length))
                writer.append(length, part.entries, part.pieces)
            tally.add(rows)
        return writer.finish(config, tally.summary(blocks))


def _key(
    config: LayoutConfig, documents: DocumentSet, seed: int, length_bins: tuple[int, ...]
) -> str:
    """Digest of all that decides the rows."""
    settings = values_of(config.kind.row_settings, config.name)
    facts = (FORMAT_VERSION, settings, documents.fingerprint, seed, length_bins)
    return hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()


def _plan_cells(layout: Layout, blocks: Blocks, pool: ThreadPoolExecutor) -> CellPlans:
    """Runs the first pass over all cells; empty for a layout of one pass."""
    if not layout.two_passes:
        return {}

    def count(block: int) -> list[tuple[tuple[int, int], np.ndarray]]:
        return [((cell.block, cell.stratum), layout.count(cell)) for cell in blocks.cells(block)]

    counts = dict(pair for pairs in pool.map(count, range(len(blocks))) for pair in pairs)
    if not counts:
        return {}
    return dict(zip(counts, layout.plan(np.stack(list(counts.values()))), strict=True))


def _lay_out_block(
    layout: Layout,
    documents: DocumentSet,
    blocks: Blocks,
    block: int,
    seed: int,
    plans: CellPlans,
) -> BlockRows:
    cells_of: dict[int, list[tuple[int, CellRows]]] = {length: [] for length in layout.lengths}
    num_documents, num_tokens, dropped = 0, 0, 0
    for cell in blocks.cells(block):
        plan = plans.get((cell.block, cell.stratum))
        buckets, dropped_here = layout.lay_out(cell, documents, seed, plan)
        for length, rows in buckets.items():
            cells_of[length].append((cell.stratum, rows))
        num_documents += cell.ids.size
        num_tokens += int(cell.tokens.sum())
        dropped += dropped_here
    parts = {length: BucketPart.of(length, cells) for length, cells in cells_of.items()}
    return BlockRows(block, parts, num_documents, num_tokens, dropped)


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """`pool.map` that computes a few results ahead, not all."""
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > _THREADS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
