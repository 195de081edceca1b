import itertools
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.data.layouts import LayoutConfig, build_layout
from tests.data.layouts.layout_cases import (
    CONCAT,
    DECOMPOSE,
    PACK,
    PAD,
    WHOLE,
    MemoryDocuments,
    build,
    changed,
    configs,
    documents,
    length_bins,
    rows_of,
    segments_of,
    targets_of,
)


@given(config=configs(keeps_all=True), held=documents(), bins=length_bins)
def test_each_token_after_a_documents_first_is_a_target_exactly_once(
    config: LayoutConfig, held: MemoryDocuments, bins: tuple[int, ...]
) -> None:
    layout = build_layout(config, held, seed=0, length_bins=bins)
    found = Counter(targets_of(layout))
    spans = [range(held.offsets[i] + 1, held.offsets[i + 1]) for i in held.ids]
    expected = Counter(itertools.chain(*spans))
    if layout.joined:
        # Rows are shifted as a whole: a piece that stands behind another begins with a target,
        # which is a document's first token or, behind a cut, a target for the second time.
        for _, _, pieces in rows_of(layout):
            expected.update(start for start, _ in pieces[1:])
    assert found == expected


@given(config=configs(), held=documents(), bins=length_bins)
def test_rows_fit_and_say_what_they_are(
    config: LayoutConfig, held: MemoryDocuments, bins: tuple[int, ...]
) -> None:
    layout = build_layout(config, held, seed=0, length_bins=bins)
    for length, row, pieces in rows_of(layout):
        bucket = layout.buckets[length]
        segments = segments_of(layout, pieces)
        assert min(len(segment) for segment in segments) >= 2
        assert sum(len(segment) - 1 for segment in segments) <= length
        assert bucket.segmented or len(segments) == 1
        starts, whole = bucket.starts(np.array([row]))
        if whole[0]:
            assert pieces == [(starts[0], length + 1)]
        for start, size in pieces:
            assert held.document(start) == held.document(start + size - 1)
            assert held.document(start) in held.ids


@given(config=configs(), held=documents(), bins=length_bins)
def test_rows_stay_in_their_stratum_and_block(
    config: LayoutConfig, held: MemoryDocuments, bins: tuple[int, ...]
) -> None:
    layout = build_layout(config, held, seed=0, length_bins=bins)
    upper = dict(itertools.pairwise((0, *bins, 10**9)))
    for length, bucket in layout.buckets.items():
        groups = bucket.groups
        of_row = np.repeat(np.arange(groups.count.size), groups.count)
        assert of_row.size == groups.rows == bucket.rows
        np.testing.assert_array_equal(groups.first, np.cumsum(groups.count) - groups.count)
        places = list(zip(groups.block.tolist(), groups.stratum.tolist(), strict=True))
        assert places == sorted(set(places))
        for of_length, row, pieces in rows_of(layout):
            if of_length != length:
                continue
            stratum = layout.strata[groups.stratum[of_row[row]]]
            block = groups.block[of_row[row]]
            for start, _ in pieces:
                document = held.document(start)
                begin, end = held.offsets[document : document + 2]
                assert held.domains[held.domain[document]] == stratum.domain
                assert stratum.min_tokens <= end - begin < upper[stratum.min_tokens]
                assert begin // config.block_tokens == block
                assert layout.block_offsets[block] <= begin < layout.block_offsets[block + 1]


@given(config=configs(), held=documents(), bins=length_bins)
def test_accounting_equals_counting_target_by_target(
    config: LayoutConfig, held: MemoryDocuments, bins: tuple[int, ...]
) -> None:
    layout = build_layout(config, held, seed=0, length_bins=bins)
    account = layout.accounting
    contexts: list[int] = []
    own_contexts: list[int] = []
    by_length: Counter[int] = Counter()
    by_stratum: Counter[tuple[int, int, int]] = Counter()
    for length, row, pieces in rows_of(layout):
        groups = layout.buckets[length].groups
        stratum = groups.stratum[np.searchsorted(groups.first, row, side="right") - 1]
        for segment in segments_of(layout, pieces):
            by_length[length] += len(segment) - 1
            by_stratum[length, stratum, len(segment) - 1] += 1
            contexts += range(1, len(segment))
        own = [position for _, size in pieces for position in range(size)]
        own_contexts += own[1:] if layout.joined else [n for n in own if n]
    for bucket in account.buckets:
        rows = layout.buckets[bucket.length].rows
        assert bucket.targets == by_length[bucket.length]
        assert (bucket.sequences, bucket.tokens) == (rows, rows * bucket.length)
        for stratum, counts in enumerate(layout.buckets[bucket.length].segments):
            stored = zip(counts.targets.tolist(), counts.count.tolist(), strict=True)
            assert dict(stored) == {
                n: count
                for (length, number, n), count in by_stratum.items()
                if (length, number) == (bucket.length, stratum)
            }
    possible = int((np.diff(held.offsets)[held.ids] - 1).sum())
    if layout.joined and config.name in ("concat_and_chunk", "window"):
        cells: Counter[tuple] = Counter()
        for i in held.ids:
            tokens = held.offsets[i + 1] - held.offsets[i]
            where = (held.offsets[i] // config.block_tokens, held.domain[i])
            cells[*where, np.searchsorted(bins, tokens, side="right")] += tokens
        possible = sum(tokens - 1 for tokens in cells.values())
    if not layout.joined or config.name in ("concat_and_chunk", "window"):
        assert account.possible_targets == possible
    assert account.documents == held.ids.size
    assert account.document_tokens == np.diff(held.offsets)[held.ids].sum()
    assert account.targets == len(contexts)
    assert account.mean_context == pytest.approx(np.mean(contexts))
    assert account.mean_document_context == pytest.approx(np.mean(own_contexts))
    assert sum(b.reached for b in account.buckets) == pytest.approx(1)


@given(held=documents())
def test_longest_first_is_the_greedy_cut(held: MemoryDocuments) -> None:
    layout = build_layout(changed(tails="pad"), held, seed=0)
    assert sorted((length, *pieces[0]) for length, _, pieces in rows_of(layout)) == sorted(
        (length, start, size + 1)
        for i in held.ids
        for length, start, size in greedy(held.offsets[i], held.offsets[i + 1])
    )


def greedy(start: int, end: int) -> list[tuple[int, int, int]]:
    """Length of the bucket, first token and targets of each piece, from the longest on."""
    found = []
    while end - start > 1:
        length = 64
        while length > 8 and length > end - start - 1:
            length //= 2
        size = min(length, end - start - 1)
        found.append((length, start, size))
        start += size
    return found


@given(held=documents(), seed=st.integers(0, 3))
def test_shuffled_cuts_have_the_lengths_of_longest_first(held: MemoryDocuments, seed: int) -> None:
    layout = build_layout(changed(cut="shuffled", tails="pad"), held, seed)
    found: Counter[tuple[int, int]] = Counter()
    for _, _, ((start, size),) in rows_of(layout):
        found[held.document(start), size - 1] += 1
    assert found == Counter(
        (i, size)
        for i in held.ids.tolist()
        for _, _, size in greedy(held.offsets[i], held.offsets[i + 1])
    )


def test_shuffled_cuts_put_every_length_anywhere() -> None:
    # 64 + 32 + 16 + 5 targets: the longest sequence comes first, second, ... equally often.
    layout = build(changed(cut="shuffled"), [118] * 2000)
    firsts = layout.buckets[64].starts(np.arange(2000))[0] % 118
    expected = [0, 5, 16, 21, 32, 37, 48, 53]  # sums of what may stand before it
    values, counts = np.unique(firsts, return_counts=True)
    assert values.tolist() == expected
    weights = np.array([6, 2, 2, 2, 2, 2, 2, 6]) / 24
    assert np.abs(counts / 2000 - weights).max() < 0.04


@given(held=documents(), seed=st.integers(0, 5), mask=st.booleans())
def test_concat_and_chunk_joins_whole_documents_and_drops_less_than_a_row(
    held: MemoryDocuments, seed: int, mask: bool
) -> None:
    config = changed(name="concat_and_chunk", largest_bucket=16, document_mask=mask)
    layout = build_layout(config, MemoryDocuments(np.diff(held.offsets).tolist()), seed)
    (bucket,) = layout.buckets.values()
    everything = Counter(targets_of(layout))
    assert max(everything.values()) == 1
    if mask:
        missing = held.offsets[-1] - (held.offsets.size - 1) - len(everything)
        assert 0 <= missing < 16
        assert not everything.keys() & set(held.offsets.tolist())
    else:
        # Rows follow each other: the last target of one is the first input of another.
        rows = {pieces[0][0]: pieces for _, _, pieces in rows_of(layout)}
        firsts = {p[0][0] for p in rows.values()} - {
            a + n - 1 for p in rows.values() for a, n in p[-1:]
        }
        assert len(firsts) == 1
        text: list[int] = []
        (start,) = firsts
        while start in rows:
            tokens = [t for begin, size in rows.pop(start) for t in range(begin, begin + size)]
            assert len(tokens) == 17
            text += tokens if not text else tokens[1:]
            start = tokens[-1]
        assert not rows
        assert 0 <= held.offsets[-1] - len(text) < 17
        # Cut where the token that follows is not the next one of the store: whole documents only.
        cuts = [a for a, b in itertools.pairwise(text) if b != a + 1]
        assert all(cut + 1 in held.offsets for cut in cuts)
        assert text[0] in held.offsets
    assert bucket.segmented == any(len(pieces) > 1 for _, _, pieces in rows_of(layout)) * mask


def test_related_documents_are_joined_to_each_other() -> None:
    groups = [5, 7, 0, 5, 7, 0, 5, 7, 0, 0] * 4
    config = changed(name="concat_and_chunk", largest_bucket=8, join_order="related")
    layout = build(config, [9] * 40, groups=groups)
    # Each row is one document of 8 targets, in the order in which they were joined.
    joined = (layout.buckets[8].starts(np.arange(40))[0] // 9).tolist()
    assert sorted(joined) == list(range(40))
    runs = [list(run) for _, run in itertools.groupby(joined, lambda d: groups[d] or -1 - d)]
    assert sorted(map(len, runs)) == [1] * 16 + [12] * 2
    assert all(run == sorted(run) for run in runs)
    alone = [run[0] for run in runs if len(run) == 1]
    assert alone != sorted(alone)


@pytest.mark.parametrize("config", [DECOMPOSE, CONCAT, PACK, PAD])
def test_equal_inputs_give_equal_rows(config: LayoutConfig) -> None:
    built = [build(config, [40, 53] * 15, seed=3).fingerprint for _ in range(2)]
    assert built[0] == built[1]


def test_accounting_can_be_printed_and_stored() -> None:
    account = build(changed(mixture="equal_tokens"), [20] * 50).accounting
    stored = json.loads(json.dumps(account.as_dict()))
    assert stored["buckets"][1]["asked"] == 0.25
    assert stored["share_padded"] == account.share_padded
    assert any("bucket 64" in note and "too short" in note for note in stored["notes"])
    assert any("bucket 32 is empty" in note for note in stored["notes"])
    table = account.table()
    assert all(note in table for note in account.notes)
    assert [line.split()[0] for line in table.splitlines()[2:7]] == ["8", "16", "32", "64", "all"]


def test_says_what_is_dropped() -> None:
    (note,) = build(changed(tails="drop"), [64 + 32 + 16 + 8 + 4 + 1]).accounting.notes
    assert note == "4 targets (3.2%) are dropped: tails of less than 8 targets"


@pytest.mark.parametrize("block_tokens", [700, 1 << 30])
def test_a_mixture_that_is_reached_gives_no_notes(block_tokens: int) -> None:
    config = changed(mixture="equal_tokens", block_tokens=block_tokens)
    account = build(config, [6401] * 50).accounting
    assert account.notes == ()
    assert [bucket.reached for bucket in account.buckets] == pytest.approx([0.25] * 4, abs=1e-3)


def test_fingerprint_changes_with_the_index_alone() -> None:
    lengths = [100, 200, 300, 77]
    equal = changed(mixture="equal_tokens")
    prints = [
        build(config, lengths, seed, ids=ids).fingerprint
        for config, ids, seed in (
            (DECOMPOSE, None, 0),
            (changed(tails="pad"), None, 0),
            (changed(cut="shuffled"), None, 0),
            (changed(document_mask=False), None, 0),
            (equal, None, 0),
            (equal, None, 1),
            (DECOMPOSE, [1, 2, 3], 0),
            (CONCAT, None, 0),
            (CONCAT, None, 1),
        )
    ]
    assert len(set(prints)) == len(prints)
    assert build(DECOMPOSE, lengths).fingerprint == prints[0]


@pytest.mark.parametrize(
    ("config", "lengths"),
    [(DECOMPOSE, [1, 1]), (CONCAT, [7, 9]), (CONCAT, []), (changed(tails="drop"), [8])],
)
def test_says_when_documents_are_too_short(config: LayoutConfig, lengths: list[int]) -> None:
    with pytest.raises(UserError, match="too few for one sequence"):
        build(config, lengths)


def test_rejects_a_document_without_tokens() -> None:
    with pytest.raises(ValueError, match="without tokens"):
        build(DECOMPOSE, [10, 0])


@given(held=documents())
def test_whole_documents_lie_in_the_shortest_bucket_that_holds_them(held: MemoryDocuments) -> None:
    layout = build_layout(WHOLE, held, seed=0)
    found = {pieces[0][0]: (length, pieces) for length, _, pieces in rows_of(layout)}
    kept, lost = 0, 0
    for i in held.ids:
        start, tokens = int(held.offsets[i]), int(held.offsets[i + 1] - held.offsets[i])
        if not 2 <= tokens <= 257:
            lost += tokens - 1
            assert start not in found
            continue
        kept += 1
        shortest = min(length for length in WHOLE.lengths if length >= tokens - 1)
        assert found[start] == (shortest, [(start, tokens)])
    assert len(found) == kept
    assert layout.accounting.possible_targets - layout.accounting.targets == lost


def test_documents_that_fit_no_bucket_are_an_error() -> None:
    with pytest.raises(
        UserError, match=r"no training document fits into layout.largest_bucket = 8"
    ):
        build(changed(name="whole", largest_bucket=8), [10, 90])
