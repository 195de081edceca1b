"""N-gram hashes of words against sets of tuples of words."""

import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lengthwise.data.prepare import ngram_tasks
from lengthwise.data.prepare.ngram_tasks import ngram_hashes

TEXT = st.text(st.sampled_from("abAB09 .,\n'éÉß«—漢字ш😀"), max_size=60)


def words_of(text: str) -> list[str]:
    """Letters and digits in a row; Chinese characters and emoji begin a word each."""
    return re.findall(r"[漢字😀]?[ab09éßш]+|[漢字😀]", text.lower())


def ngrams_of(text: str, n: int) -> list[tuple[str, ...]]:
    words = words_of(text)
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


@settings(max_examples=300)
@given(st.lists(TEXT, min_size=1, max_size=8), st.integers(1, 4))
def test_equal_hashes_are_equal_ngrams(texts: list[str], n: int) -> None:
    hashes, counts = ngram_hashes(texts, n)
    expected = [ngrams_of(text, n) for text in texts]
    assert counts.tolist() == [len(ngrams) for ngrams in expected]
    flat = [ngram for ngrams in expected for ngram in ngrams]
    assert len(hashes) == len(flat)
    assert len(dict(zip(hashes.tolist(), flat, strict=True))) == len(set(flat))
    assert len(set(zip(hashes.tolist(), flat, strict=True))) == len(set(flat))


@pytest.mark.parametrize("size", [1, 7, 50, 1 << 17])
def test_slices_leave_no_seam(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    rng = random.Random(0)
    texts = [" ".join(f"w{rng.randrange(10**9)}" for _ in range(n)) for n in (40, 3, 0, 100)]
    whole = ngram_hashes(texts, 3)
    monkeypatch.setattr(ngram_tasks, "_SLICE", size)
    for got, expected in zip(ngram_hashes(texts, 3), whole, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_token_ids_are_words() -> None:
    documents = [np.array([5, 6, 7, 5, 6, 7]), np.array([], np.int64), np.array([6, 7, 5])]
    hashes, counts = ngram_hashes(documents, 3)
    assert counts.tolist() == [4, 0, 1]
    assert hashes[0] == hashes[3] != hashes[1]
    assert hashes[4] == hashes[1]


def test_no_words_at_all() -> None:
    hashes, counts = ngram_hashes(["...", "", "one"], 2)
    assert not hashes.size
    assert counts.tolist() == [0, 0, 0]
