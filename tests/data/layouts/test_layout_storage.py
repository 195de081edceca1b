import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from lengthwise.common.errors import UserError
from lengthwise.data.layouts import LayoutConfig, build_layout
from tests.data.layouts.layout_cases import (
    DECOMPOSE,
    PACK,
    WINDOW,
    MemoryDocuments,
    changed,
    configs,
    documents,
    length_bins,
    rows_of,
)


class Closed(MemoryDocuments):
    """Documents whose tables must not be read any more."""

    @property
    def offsets(self) -> np.ndarray:
        raise AssertionError("read the table of documents")

    @offsets.setter
    def offsets(self, value: np.ndarray) -> None:
        pass


@given(config=configs(), held=documents(), bins=length_bins)
def test_files_hold_what_memory_holds_and_open_without_the_documents(
    tmp_path_factory: pytest.TempPathFactory,
    config: LayoutConfig,
    held: MemoryDocuments,
    bins: tuple[int, ...],
) -> None:
    folder = tmp_path_factory.mktemp("layouts")
    in_memory = build_layout(config, held, 5, None, bins)
    built = build_layout(config, held, 5, folder, bins)
    closed = Closed([1])
    closed.fingerprint, closed.domains = held.fingerprint, held.domains
    opened = build_layout(config, closed, 5, folder, bins)
    for layout in (built, opened):
        assert layout.config == in_memory.config
        assert layout.strata == in_memory.strata
        assert layout.accounting == in_memory.accounting
        assert layout.fingerprint == in_memory.fingerprint
        np.testing.assert_array_equal(layout.block_offsets, in_memory.block_offsets)
        assert list(rows_of(layout)) == list(rows_of(in_memory))
        for length, bucket in layout.buckets.items():
            expected = in_memory.buckets[length]
            assert bucket.segmented == expected.segmented
            for name in ("first", "count", "block", "stratum"):
                found = getattr(bucket.groups, name)
                np.testing.assert_array_equal(found, getattr(expected.groups, name))
                assert found.dtype == getattr(expected.groups, name).dtype
            for counts, wanted in zip(bucket.segments, expected.segments, strict=True):
                np.testing.assert_array_equal(counts.targets, wanted.targets)
                np.testing.assert_array_equal(counts.count, wanted.count)
    assert len(list(folder.iterdir())) == 1


def test_another_index_has_another_place(tmp_path: Path) -> None:
    held = MemoryDocuments([100, 70, 33])
    for config, seed, bins in (
        (DECOMPOSE, 0, ()),
        (DECOMPOSE, 1, ()),
        (DECOMPOSE, 0, (50,)),
        (PACK, 0, ()),
        (changed(tails="pad"), 0, ()),
    ):
        build_layout(config, held, seed, tmp_path, bins)
    build_layout(DECOMPOSE, MemoryDocuments([100, 70]), 0, tmp_path)
    assert len(list(tmp_path.iterdir())) == 6


def test_another_window_has_the_same_rows(tmp_path: Path) -> None:
    held = MemoryDocuments([100, 70, 33])
    build_layout(WINDOW, held, 0, tmp_path)
    slower = changed(name="window", largest_bucket=32, window_start=1, window_rate=0.25)
    opened = build_layout(slower, held, 0, tmp_path)
    assert opened.config == slower
    assert opened.accounting == build_layout(slower, held, 0).accounting
    assert len(list(tmp_path.iterdir())) == 1


def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    held = MemoryDocuments([100, 70, 33])
    build_layout(PACK, held, 0, tmp_path)
    (index,) = tmp_path.iterdir()
    pieces = next(index.glob("pieces-*"))
    pieces.write_bytes(pieces.read_bytes()[:-1])
    with pytest.raises(UserError, match=f"{pieces.name} is damaged .* delete {index} and start"):
        build_layout(PACK, held, 0, tmp_path)
    groups = index / "groups.npz"
    for content in (groups.read_bytes()[:-30], b"PK", b""):
        groups.write_bytes(content)
        with pytest.raises(UserError, match=f"damaged .*; delete {index}"):
            build_layout(PACK, held, 0, tmp_path)


def test_an_index_without_a_checksum_of_a_table_is_damaged(tmp_path: Path) -> None:
    held = MemoryDocuments([100, 70, 33])
    build_layout(PACK, held, 0, tmp_path)
    (index,) = tmp_path.iterdir()
    facts = json.loads((index / "index.json").read_text())
    del facts["checksums"][next(index.glob("rows-*")).name]
    (index / "index.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match=f"damaged .'rows-.*; delete {index}"):
        build_layout(PACK, held, 0, tmp_path)


@pytest.mark.parametrize("kind", ["rows", "pieces"])
def test_a_flipped_bit_is_found_where_it_is_looked_for(tmp_path: Path, kind: str) -> None:
    held = MemoryDocuments([100, 70, 33])
    expected = list(rows_of(build_layout(PACK, held, 0, tmp_path)))
    build_layout(PACK, held, 0, tmp_path, verify=True)
    (index,) = tmp_path.iterdir()
    path = next(index.glob(f"{kind}-*"))
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    build_layout(PACK, held, 0, tmp_path)
    with pytest.raises(UserError, match=f"{path} is damaged .wrong checksum.*{index} and start"):
        build_layout(PACK, held, 0, tmp_path, verify=True)
    shutil.rmtree(index)
    assert list(rows_of(build_layout(PACK, held, 0, tmp_path, verify=True))) == expected


def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path: Path) -> None:
    held = MemoryDocuments([100, 70, 33])
    build_layout(PACK, held, 0, tmp_path)
    (index,) = tmp_path.iterdir()
    shutil.rmtree(index)
    for name in (index.name, "another"):
        (tmp_path / f"{name}.0f0f0f0f.tmp").mkdir()
        (tmp_path / f"{name}.0f0f0f0f.tmp" / "rows-8.bin").write_bytes(b"half")
    build_layout(PACK, held, 0, tmp_path)
    assert list(tmp_path.iterdir()) == [index]


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too few"):
        build_layout(PACK, MemoryDocuments([1]), 0, tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="could not be written"):
        build_layout(PACK, MemoryDocuments([9]), 0, tmp_path / "file")
