"""Builds a layout block by block, in threads, in memory that the size of a block bounds."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from lengthwise.common.cores import available_cores
from lengthwise.data.layouts.config import LayoutConfig
from lengthwise.data.layouts.cuts.concatenate import concatenate
from lengthwise.data.layouts.cuts.decompose import decompose, sequence_counts
from lengthwise.data.layouts.cuts.whole import whole
from lengthwise.data.layouts.documents import Blocks, Cell, Documents
from lengthwise.data.layouts.index import shift_references
from lengthwise.data.layouts.index_file import (
    IndexFiles,
    IndexMemory,
    IndexWriter,
    has_index,
    open_index,
)
from lengthwise.data.layouts.layout import Layout
from lengthwise.data.layouts.mixture import plan_halving, resolve_mixture
from lengthwise.data.layouts.rows import Rows
from lengthwise.data.layouts.tally import BlockRows, BucketPart, Tally

FORMAT_VERSION = 2
# Each holds the documents of a block, some 200 bytes a document.
_THREADS = min(4, available_cores())

Item = TypeVar("Item")
Result = TypeVar("Result")


def build_layout(
    config: LayoutConfig,
    documents: Documents,
    seed: int,
    directory: Path | None = None,
    length_bins: tuple[int, ...] = (),
    verify: bool = False,
) -> Layout:
    """Lays out documents, or opens the index that an earlier call left in `directory`.

    Args:
      seed: chooses what is random: which sequences a mixture halves, the order in which documents
        are joined, random cuts.
      directory: holds indices by the key of all that decides them; None: the index stays in memory.
        One process at a time may build in it.
      length_bins: tokens at which a stratum of longer documents begins, ascending.
      verify: whether all of an index that is there is read, and its checksums compared.

    Raises:
      UserError: no documents, or none long enough for a single sequence; the index cannot be
        written or is damaged.
    """
    key = _key(config, documents, seed, length_bins)
    if directory is not None and has_index(directory / key):
        return open_index(directory / key, config, verify=verify)
    blocks = Blocks(documents, config.block_tokens, length_bins)
    tally = Tally(config, blocks.strata)
    writer: IndexWriter = IndexMemory() if directory is None else IndexFiles(directory / key)
    with writer, ThreadPoolExecutor(_THREADS) as pool:
        halved = _halvings(config, blocks, pool)

        def lay_out(block: int) -> BlockRows:
            return _lay_out_block(config, documents, blocks, block, seed, halved)

        made = _in_order(pool, lay_out, range(len(blocks)))
        for rows in tqdm(made, "layout", len(blocks), unit="block", delay=2, leave=False):
            for length, part in rows.buckets.items():
                shift_references(part.entries, tally.pieces(length))
                writer.append(length, part.entries, part.pieces)
            tally.add(rows)
        return writer.finish(config, tally.summary(blocks))


def _key(
    config: LayoutConfig, documents: Documents, seed: int, length_bins: tuple[int, ...]
) -> str:
    """Of all that decides the rows; the window does not."""
    rows = replace(config, window_start=1, window_rate=0.0) if config.name == "window" else config
    facts = (FORMAT_VERSION, astuple(rows), documents.fingerprint, seed, length_bins)
    return hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()


def _halvings(
    config: LayoutConfig, blocks: Blocks, pool: ThreadPoolExecutor
) -> dict[tuple[int, int], np.ndarray] | None:
    """How many sequences each cell (block, stratum) halves; None without a mixture."""
    shares = resolve_mixture(config.mixture, config.shares, len(config.lengths))
    if shares is None:
        return None

    def count(block: int) -> list[tuple[tuple[int, int], np.ndarray]]:
        cells = blocks.cells(block)
        return [((cell.block, cell.stratum), sequence_counts(config, cell)) for cell in cells]

    counted = dict(pair for found in pool.map(count, range(len(blocks))) for pair in found)
    if not counted:
        return {}
    counts = np.stack(list(counted.values()))
    tails = 0 if config.tails == "drop" else int(counts[:, -1].sum())
    halved = plan_halving(counts[:, :-1], config.lengths, tails, shares)
    return dict(zip(counted, halved, strict=True))


def _lay_out_block(
    config: LayoutConfig,
    documents: Documents,
    blocks: Blocks,
    block: int,
    seed: int,
    halved: dict[tuple[int, int], np.ndarray] | None,
) -> BlockRows:
    made: dict[int, list[tuple[int, Rows]]] = {length: [] for length in config.lengths}
    num_documents, num_tokens, dropped = 0, 0, 0
    for cell in blocks.cells(block):
        rows, lost = _lay_out_cell(config, documents, cell, seed, halved)
        for length, of in rows.items():
            made[length].append((cell.stratum, of))
        num_documents += cell.ids.size
        num_tokens += int(cell.tokens.sum())
        dropped += lost
    parts = {length: BucketPart.of(length, cells) for length, cells in made.items()}
    return BlockRows(block, parts, num_documents, num_tokens, dropped)


def _lay_out_cell(
    config: LayoutConfig,
    documents: Documents,
    cell: Cell,
    seed: int,
    halved: dict[tuple[int, int], np.ndarray] | None,
) -> tuple[dict[int, Rows], int]:
    if config.name in ("concat_and_chunk", "window"):
        return concatenate(config, cell, documents, seed)
    if config.name == "whole":
        return whole(config, cell)
    of_cell = None if halved is None else halved[cell.block, cell.stratum]
    return decompose(config, cell, of_cell, seed)


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Like `map`, with few results waiting at a time."""
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > _THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
