import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lengthwise.data.batches.assemble import assemble
from lengthwise.data.batches.pipeline import HostBatch, LocalSlices, batches
from lengthwise.data.config import ReadingConfig
from lengthwise.data.layouts import LayoutConfig, LayoutIndex, build_layout
from lengthwise.data.schedule.curriculum import CurriculumConfig
from lengthwise.data.schedule.schedule import Schedule
from tests.data.layouts import layout_cases
from tests.data.layouts.layout_cases import MemoryDocuments, changed
from tests.data.rows import AS_THEY_COME, ONE_STRATUM, one_group

PACK = changed(mixture="equal_tokens")
PAD = changed(tails="pad")
NAIVE = changed(document_mask=False)
CONCAT = changed(name="concat_and_chunk", largest_bucket=32, document_mask=False)
NAMES = ("inputs", "targets", "segment_ids", "positions")
TOKENS_PER_STEP = 128


class InMemoryStore:
    """Documents of random tokens; like the token store, it reads inside one document alone."""

    def __init__(self, lengths: list[int]):
        self.document_offsets = np.concatenate([[0], np.cumsum(lengths)])
        self.tokens = np.random.default_rng(0).integers(1, 257, sum(lengths)).astype(np.uint16)

    def read(self, start: int, length: int) -> np.ndarray:
        document = np.searchsorted(self.document_offsets, start, side="right")
        assert 0 <= start < start + length <= self.document_offsets[document]
        return self.tokens[start : start + length]

    def read_rows(self, starts: np.ndarray, length: int) -> np.ndarray:
        return self.read_pieces(starts, np.full(starts.size, length)).reshape(starts.size, length)

    def read_pieces(self, starts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        ranges = zip(starts.tolist(), tokens.tolist(), strict=True)
        return np.concatenate([self.tokens[:0], *(self.read(*each) for each in ranges)])


class FailingStore(InMemoryStore):
    def read(self, start: int, length: int) -> np.ndarray:
        raise OSError("shard-00003 is truncated")


class SlowStore(InMemoryStore):
    def read(self, start: int, length: int) -> np.ndarray:
        time.sleep(start % 7 * 1e-4)
        return super().read(start, length)


LENGTHS = [int(n) for n in np.random.default_rng(1).lognormal(4, 1.2, 80).astype(int) + 1]
STORE = InMemoryStore(LENGTHS)


def laid_out(config: LayoutConfig) -> LayoutIndex:
    return build_layout(config, MemoryDocuments(LENGTHS), seed=3)


def plan_of(layout: LayoutIndex, seed: int = 0) -> Schedule:
    groups = {length: one_group(bucket.rows) for length, bucket in layout.buckets.items()}
    return Schedule(
        CurriculumConfig("uniform", (), 2), groups, ONE_STRATUM, AS_THEY_COME, TOKENS_PER_STEP, 30,
        seed,
    )  # fmt: skip


def everything(length: int) -> tuple[np.ndarray, slice]:
    return np.arange(TOKENS_PER_STEP // length), [slice(0, length)]


def serve(
    layout: LayoutIndex,
    *,
    start_step: int = 0,
    num_steps: int = 40,
    num_threads: int = 2,
    store: InMemoryStore = STORE,
    local_slices: LocalSlices = everything,
) -> Iterator[HostBatch]:
    config = ReadingConfig(num_threads, 4, 0, "", 0)
    steps = range(start_step, start_step + num_steps)
    return batches(store, layout, plan_of(layout), config, steps, local_slices)


def reference_row(
    layout: LayoutIndex, length: int, row: int, store: InMemoryStore = STORE
) -> dict[str, list[int]]:
    """A row, target by target."""
    bucket = layout.buckets[length]
    arrays: dict[str, list[int]] = {name: [] for name in NAMES}
    pieces = bucket.pieces(np.array([row]))
    if layout.joined:
        text = [
            int(store.tokens[start + i])
            for start, size in zip(pieces.start, pieces.tokens, strict=True)
            for i in range(size)
        ]
        held = len(text) - 1
        columns = (text[:-1], text[1:], [1] * held, list(range(held)))
        padding = [0] * (length - held)
        return {name: values + padding for name, values in zip(NAMES, columns, strict=True)}
    for segment, (start, size) in enumerate(zip(pieces.start, pieces.tokens, strict=True), 1):
        for position in range(size - 1):
            arrays["inputs"].append(int(store.tokens[start + position]))
            arrays["targets"].append(int(store.tokens[start + position + 1]))
            arrays["segment_ids"].append(segment)
            arrays["positions"].append(position)
    return {name: values + [0] * (length - len(values)) for name, values in arrays.items()}


@pytest.mark.parametrize("config", [PACK, PAD, NAIVE, CONCAT])
def test_every_row_equals_the_reference(config: LayoutConfig) -> None:
    layout = laid_out(config)
    for length, bucket in layout.buckets.items():
        rows = np.random.default_rng(0).permutation(bucket.rows)
        arrays = assemble(STORE, layout, length, rows, slice(None))
        for name, array in arrays.items():
            assert array.dtype == np.int32
            assert array.shape == (bucket.rows, length)
            expected = [reference_row(layout, length, int(row))[name] for row in rows]
            np.testing.assert_array_equal(array, np.reshape(expected, array.shape))
        assert tuple(arrays) == NAMES
        valid = np.count_nonzero(arrays["segment_ids"])
        (account,) = (b for b in layout.accounting.buckets if b.length == length)
        assert valid == account.targets


@settings(max_examples=60)
@given(
    documents=layout_cases.documents(),
    config=layout_cases.configs(),
    bins=layout_cases.length_bins,
    data=st.data(),
)
def test_any_columns_of_any_layout_are_those_of_the_whole_row(
    documents: MemoryDocuments, config: LayoutConfig, bins: tuple[int, ...], data: st.DataObject
) -> None:
    layout = build_layout(config, documents, seed=0, length_bins=bins)
    store = InMemoryStore(np.diff(documents.offsets).tolist())
    length = data.draw(st.sampled_from([n for n, bucket in layout.buckets.items() if bucket.rows]))
    row = st.integers(0, layout.buckets[length].rows - 1)
    rows = np.array(data.draw(st.lists(row, max_size=6)), np.int64)
    begin = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(begin + 1, length))
    part = assemble(store, layout, length, rows, slice(begin, end))
    for place, row in enumerate(rows.tolist()):
        whole = reference_row(layout, length, row, store)
        for name in NAMES:
            assert part[name][place].tolist() == whole[name][begin:end]


@given(config=st.sampled_from([PACK, NAIVE, CONCAT]), window=st.integers(1, 70), data=st.data())
def test_a_window_splits_segments_into_blocks(
    config: LayoutConfig, window: int, data: st.DataObject
) -> None:
    layout = laid_out(config)
    length = data.draw(st.sampled_from(list(layout.buckets)))
    rows = np.arange(min(9, layout.buckets[length].rows))
    begin = data.draw(st.integers(0, length - 1))
    split = assemble(STORE, layout, length, rows, slice(begin, None), window)
    for place in rows.tolist():
        whole = reference_row(layout, length, place)
        blocks = [
            (segment, position // window) if segment else None
            for segment, position in zip(whole["segment_ids"], whole["positions"], strict=True)
        ]
        first = [blocks.index(block) + 1 if block else 0 for block in blocks]
        assert split["segment_ids"][place].tolist() == first[begin:]
        restarted = [position % window for position in whole["positions"]]
        assert split["positions"][place].tolist() == restarted[begin:]
        for name in ("inputs", "targets"):
            assert split[name][place].tolist() == whole[name][begin:]


def test_batches_follow_the_window() -> None:
    layout = laid_out(layout_cases.WINDOW)
    for batch in serve(layout, num_steps=60):
        window = layout.config.kind.window_at(batch.step)
        split = assemble(STORE, layout, 32, batch.rows, slice(None), window)
        for name in NAMES:
            np.testing.assert_array_equal(batch.arrays[name], split[name])
        longest = 1 + batch.arrays["positions"].max()
        assert longest == window or (window is None and longest <= 32)


def test_packed_rows_are_what_the_reference_test_sees() -> None:
    smallest = laid_out(PACK).buckets[8]
    assert smallest.segmented
    assert np.diff(smallest.pieces(np.arange(smallest.rows)).offsets).max() > 1
    joined = laid_out(CONCAT).buckets[32]
    assert np.diff(joined.pieces(np.arange(joined.rows)).offsets).max() > 2


@given(
    config=st.sampled_from([PACK, PAD, NAIVE, CONCAT]),
    processes=st.sampled_from([1, 2, 4]),
    views=st.sampled_from([1, 2, 4, 8]),
    step=st.integers(0, 60),
)
def test_local_slices_make_up_the_global_batch(
    config: LayoutConfig, processes: int, views: int, step: int
) -> None:
    layout = laid_out(config)
    draw = plan_of(layout).draw(step)
    whole = assemble(STORE, layout, draw.length, draw.rows, slice(None))
    width = draw.length // views
    found = {name: np.full_like(array, -1) for name, array in whole.items()}
    for process in range(processes):
        mine = np.arange(process, draw.rows.size, processes)  # not contiguous, not in order
        for view in range(views):
            columns = slice(view * width, (view + 1) * width)
            local = assemble(STORE, layout, draw.length, draw.rows[mine[::-1]], columns)
            for name in NAMES:
                found[name][mine[::-1], columns] = local[name]
    for name in NAMES:
        np.testing.assert_array_equal(found[name], whole[name])


def assert_same(found: HostBatch, expected: HostBatch) -> None:
    assert (found.step, found.length) == (expected.step, expected.length)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.strata, expected.strata)
    for name in NAMES:
        np.testing.assert_array_equal(found.arrays[name], expected.arrays[name])


@settings(max_examples=10)
@example(config=PACK, start=40, threads=2)
@given(config=st.sampled_from([PACK, CONCAT]), start=st.integers(0, 40), threads=st.integers(0, 3))
def test_resuming_gives_the_rest_of_the_same_batches(
    config: LayoutConfig, start: int, threads: int
) -> None:
    layout = laid_out(config)
    whole = list(serve(layout))
    rest = list(serve(layout, start_step=start, num_steps=40 - start, num_threads=threads))
    assert [batch.step for batch in whole] == list(range(40))
    assert len(rest) == 40 - start
    for found, expected in zip(rest, whole[start:], strict=True):
        assert_same(found, expected)


def test_batches_hold_the_local_part_of_what_the_schedule_draws() -> None:
    layout = laid_out(PACK)
    plan = plan_of(layout)

    def outer_quarters(length: int) -> tuple[np.ndarray, list[slice]]:
        ends = [slice(0, length // 4), slice(3 * length // 4, length)]
        return np.arange(TOKENS_PER_STEP // length)[1:], ends

    for batch in serve(layout, local_slices=outer_quarters):
        draw = plan.draw(batch.step)
        assert batch.length == draw.length
        np.testing.assert_array_equal(batch.rows, draw.rows)
        whole = assemble(STORE, layout, draw.length, draw.rows, slice(None))
        quarter = draw.length // 4
        held = np.r_[0:quarter, 3 * quarter : draw.length]
        for name in NAMES:
            expected = whole[name][1:, held]
            np.testing.assert_array_equal(batch.arrays[name], expected)


def test_slow_reads_do_not_change_the_order() -> None:
    layout = laid_out(PACK)
    slow = serve(layout, store=SlowStore(LENGTHS), num_threads=4)
    for found, expected in zip(slow, serve(layout, num_threads=0), strict=True):
        assert_same(found, expected)


@pytest.mark.parametrize("num_threads", [0, 2])
def test_an_error_in_a_thread_reaches_the_consumer(num_threads: int) -> None:
    served = serve(laid_out(PACK), store=FailingStore(LENGTHS), num_threads=num_threads)
    with pytest.raises(OSError, match="shard-00003 is truncated"):
        next(served)
    assert_no_threads_left()


def test_closing_early_stops_the_threads() -> None:
    served = serve(laid_out(PACK), num_steps=10**6)
    next(served)
    assert any("grain" in thread.name for thread in threading.enumerate())
    served.close()  # type: ignore[attr-defined]
    assert_no_threads_left()


def test_dropping_the_iterator_stops_the_threads() -> None:
    for _ in serve(laid_out(PACK), num_steps=10**6):
        break
    assert_no_threads_left()


def assert_no_threads_left() -> None:
    for thread in threading.enumerate():
        if "grain" in thread.name:
            thread.join(timeout=20)
            assert not thread.is_alive()


def test_asking_for_what_is_not_there_is_an_error() -> None:
    layout = laid_out(PACK)
    for row in (-1, layout.buckets[64].rows):
        with pytest.raises(IndexError, match="rows"):
            assemble(STORE, layout, 64, np.array([row]), slice(None))
    with pytest.raises(ValueError, match="contiguous"):
        assemble(STORE, layout, 64, np.array([0]), slice(0, 64, 2))
