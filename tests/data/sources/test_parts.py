"""Long documents in parts: every character but the gaps once, names, token ids."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.data.config import DataConfig
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.sources import make_source
from lengthwise.data.sources.parts import cut
from lengthwise.data.store.splits import Split
from tests.data.settings import change_source, read_all, source_config


@given(st.integers(1, 4_000), st.integers(1, 300), st.integers(0, 300), st.integers(0, 9))
def test_parts_are_equal_and_apart(total: int, length: int, gap: int, seed: int) -> None:
    ids, gap = np.arange(total), min(gap, length)
    spans = cut(ids, length, gap)
    sizes = [end - start for start, end in spans]
    if len(spans) > 1:
        assert length / 2 - 1 <= min(sizes) <= max(sizes) <= 1.5 * length + 1
    else:
        assert total <= 1.5 * length + gap / 2
    assert max(sizes) - min(sizes) <= 1
    assert (spans[0][0], spans[-1][1]) == (0, total)
    between = [start - end for (_, end), (start, _) in itertools.pairwise(spans)]
    assert all(gap - 1 <= apart <= gap + 1 for apart in between)
    letters = np.random.default_rng(seed).choice(list("abcde  \n"), total)
    for (start, end), (first, last) in zip(spans, cut("".join(letters), length, gap), strict=True):
        assert start <= first <= last <= end  # the gaps grow, the parts don't
        assert last - first >= (end - start) * 0.7


def test_words_stay_whole(tmp_path: Path) -> None:
    words = [f"word{i}" for i in range(400)]
    (tmp_path / "a.txt").write_text(" ".join(words))
    (tmp_path / "b.txt").write_text("short")
    config = source_config(path=str(tmp_path), part_length=300, part_gap=0.1)
    documents, skipped = read_all(make_source([config], ids=False))
    assert documents.pop("b.txt") == "short"
    assert list(documents) == [f"a.txt#{i}" for i in range(len(documents))]
    assert skipped == {"gaps between parts": len(documents) - 1}
    parts = [text.split() for text in documents.values()]
    assert set().union(*parts) <= set(words)
    last = [words.index(part[-1]) for part in parts[:-1]]
    first = [words.index(part[0]) for part in parts[1:]]
    assert all(3 <= b - a <= 10 for a, b in zip(last, first, strict=True))  # 30 characters, about


def test_ids_are_cut_too(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": [0, 1, 2, 3, 4, 5, 6, 7, 8]}')
    config = source_config(source="jsonl", path=str(tmp_path), part_length=4, part_gap=0.25)
    documents, _ = read_all(make_source([config], ids=True))
    assert [part.tolist() for part in documents.values()] == [[0, 1, 2, 3], [5, 6, 7, 8]]


def test_one_file_fills_all_splits(config: DataConfig, tmp_path: Path) -> None:
    words = np.random.default_rng(0).choice([f"w{i}" for i in range(900)], 9_000)
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "a.txt").write_text(" ".join(words))
    whole = change_source(config, path=str(folder))
    assert set(prepare(whole, tmp_path / "whole").document_splits) == {Split.TRAIN}
    cut_up = change_source(config, path=str(folder), part_length=700)
    store = prepare(cut_up, tmp_path / "parts")
    assert set(store.document_splits) == set(Split)
    shares = [store.documents(split).size / store.manifest.num_documents for split in Split]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.04)
    # Another part length is another corpus.
    keys = {
        make_source([dataclasses.replace(c, part_length=n)], ids=False).units()[0].key
        for c in cut_up.sources
        for n in (0, 700, 701)
    }
    assert len(keys) == 3
