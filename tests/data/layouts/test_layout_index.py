import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.data.layouts.index import (
    PIECE,
    ROW,
    BucketIndex,
    Table,
    make_references,
    shift_references,
)
from lengthwise.data.layouts.row_groups import RowGroups
from lengthwise.data.store.memory_reader import MemoryReader
from lengthwise.data.store.shard_reader import ShardEntry, ShardReader

LENGTH = 8
# Whole rows are their first token; the others lists of (first token, tokens).
ROWS = [5, [(40, 3), (90, 2)], 17, [(2**40, 9)], [(7, 2)] * 4, 2**41]


def index_of(rows: list, folder: Path | None) -> BucketIndex:
    pieces = [piece for row in rows if isinstance(row, list) for piece in row]
    entries, first = [], 0
    for row in rows:
        if isinstance(row, list):
            entries.append(int(make_references(np.array([first]), np.array([len(row)]))[0]))
            first += len(row)
        else:
            entries.append(row)
    arrays = (np.array(entries, ROW), np.array(pieces, PIECE))
    tables: list[Table] = [MemoryReader(array) for array in arrays]
    if folder:
        tables = []
        for name, array in zip(("rows", "pieces"), arrays, strict=True):
            array.tofile(folder / name)
            tables.append(ShardReader(folder, [ShardEntry(name, array.size, "")], array.dtype))
    groups = RowGroups.of(np.zeros(1), np.zeros(1), np.array([len(rows)]))
    return BucketIndex(LENGTH, True, groups, (), *tables)


@given(chosen=st.lists(st.integers(0, len(ROWS) - 1), max_size=9), in_files=st.booleans())
def test_rows_are_what_was_put_in(
    tmp_path_factory: pytest.TempPathFactory, chosen: list[int], in_files: bool
) -> None:
    bucket = index_of(ROWS, tmp_path_factory.mktemp("index") if in_files else None)
    rows = np.array(chosen, np.int64)
    starts, whole = bucket.starts(rows)
    assert whole.tolist() == [not isinstance(ROWS[row], list) for row in chosen]
    assert starts.tolist() == [-1 if isinstance(ROWS[r], list) else ROWS[r] for r in chosen]
    pieces = bucket.pieces(rows)
    expected = [row if isinstance(row, list) else [(row, LENGTH + 1)] for row in ROWS]
    for place, row in enumerate(chosen):
        own = slice(pieces.offsets[place], pieces.offsets[place + 1])
        found = zip(pieces.start[own].tolist(), pieces.tokens[own].tolist(), strict=True)
        assert list(found) == expected[row]
    assert pieces.offsets[-1] == pieces.start.size == pieces.tokens.size


def test_shifting_references_leaves_whole_rows_alone() -> None:
    entries = np.concatenate([[5, 2**50], make_references(np.array([0, 3]), np.array([3, 2**20]))])
    shift_references(entries, 10**12)
    moved = make_references(np.array([0, 3]) + 10**12, np.array([3, 2**20]))
    np.testing.assert_array_equal(entries, [5, 2**50, *moved])
    assert (entries[2:] < 0).all()


@pytest.mark.parametrize("row", [-1, len(ROWS)])
def test_a_row_that_is_not_there_is_an_error(row: int) -> None:
    for call in (index_of(ROWS, None).starts, index_of(ROWS, None).pieces):
        with pytest.raises(IndexError, match="6 rows"):
            call(np.array([row]))


def test_a_file_that_shrinks_is_named(tmp_path: Path) -> None:
    bucket = index_of(ROWS, tmp_path)
    os.truncate(tmp_path / "rows", 20)
    bucket.starts(np.array([1]))
    with pytest.raises(UserError, match=r"rows gave 4 of 8 bytes at 16: it was damaged; .* delete"):
        bucket.starts(np.array([2]))
    with pytest.raises(UserError, match=r"rows is damaged \(20 bytes, not 48\); .* delete"):
        ShardReader(tmp_path, [ShardEntry("rows", len(ROWS), "")], ROW)


def test_groups_leave_out_what_is_empty() -> None:
    groups = RowGroups.of(np.array([0, 0, 1, 2]), np.array([0, 1, 0, 1]), np.array([3, 0, 2, 1]))
    assert groups.rows == 6
    assert groups.first.tolist() == [0, 3, 5]
    assert groups.count.tolist() == [3, 2, 1]
    assert groups.block.tolist() == [0, 1, 2]
    assert groups.stratum.tolist() == [0, 0, 1]
