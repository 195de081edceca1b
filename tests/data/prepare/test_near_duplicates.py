"""Near-duplicates: signatures against exact Jaccard indices, clusters against planted ones."""

import hashlib
import random
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lengthwise.data.prepare import near_duplicates as minhash
from lengthwise.data.prepare.near_duplicates import (
    NUM_HASHES,
    alike,
    band_hashes,
    candidate_pairs,
    choose_bands,
    clusters_of,
    first_copies,
    near_duplicate_edges,
    signatures,
)


def signature(text: bytes) -> np.ndarray:
    return signatures([text])[0]


def cluster(texts: list[bytes], threshold: float = 0.35) -> np.ndarray:
    digests = [hashlib.blake2b(text, digest_size=16).digest() for text in texts]
    copies = first_copies(np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 16))
    return clusters_of(copies, near_duplicate_edges(signatures(texts), copies, threshold))


def windows(text: bytes) -> set[bytes]:
    return {text[i : i + 16] for i in range(max(len(text) - 15, 1))}


def jaccard(a: bytes, b: bytes) -> float:
    return len(windows(a) & windows(b)) / len(windows(a) | windows(b))


def random_text(rng: random.Random, num_words: int) -> list[bytes]:
    return [b"w%d" % rng.randrange(10_000) for _ in range(num_words)]


def edited(rng: random.Random, words: list[bytes], share: float) -> list[bytes]:
    return [b"new%d" % rng.randrange(10**6) if rng.random() < share else w for w in words]


@pytest.mark.parametrize("num_words", [300, 3_000, 40_000])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.3])
def test_signatures_estimate_the_jaccard_index(num_words: int, share: float) -> None:
    rng = random.Random(num_words + int(share * 100))
    words = random_text(rng, num_words)
    a, b = b" ".join(words), b" ".join(edited(rng, words, share))
    exact = jaccard(a, b)
    estimate = float((signature(a) == signature(b)).mean())
    # Four standard errors of the signature, and of the sample where the document is short.
    samples = min(NUM_HASHES, len(windows(a)) / 4)
    assert abs(estimate - exact) <= 4 * np.sqrt(exact * (1 - exact) / samples) + 1e-9


def test_short_and_empty_texts_have_signatures_of_their_own() -> None:
    texts = [b"", b"a", b"b", b"0123456789abcde", b"0123456789abcdef", b"0123456789abcdefg"]
    texts += [b"%d" % i for i in range(2_000)]
    assert len(np.unique(signatures(texts), axis=0)) == len(texts)


def test_planted_families_and_loners() -> None:
    rng = random.Random(0)
    texts, family = [], []
    for i in range(60):
        words = random_text(rng, rng.randrange(50, 2_000))
        for _ in range(rng.choice([1, 1, 1, 2, 5])):
            texts.append(b" ".join(edited(rng, words, 0.02)))
            family.append(i)
    order = rng.sample(range(len(texts)), len(texts))
    clusters = cluster([texts[i] for i in order])
    same = np.array(family)[order]
    np.testing.assert_array_equal(clusters[:, None] == clusters, same[:, None] == same)
    first = [clusters.tolist().index(c) for c in range(clusters.max() + 1)]
    assert first == sorted(first), "ids are numbered by first appearance"


def test_exact_duplicates_cluster_at_any_threshold() -> None:
    texts = [b"one text", b"another", b"one text", b"x" * 5_000, b"", b"x" * 5_000]
    for threshold in (0.05, 0.35, 0.95, 1.0):
        assert cluster(texts, threshold).tolist() == [0, 1, 0, 2, 3, 2]


def test_threshold_decides() -> None:
    """Pairs of all likenesses: joined exactly where the signatures reach the threshold."""
    rng = random.Random(1)
    pairs = []
    for _ in range(60):
        words = random_text(rng, 500)
        pairs += [words, edited(rng, words, rng.uniform(0.02, 0.4))]
    texts = [b" ".join(words) for words in pairs]
    found = signatures(texts)
    likeness = (found[::2] == found[1::2]).mean(axis=1)
    clusters = cluster(texts)
    joined = clusters[::2] == clusters[1::2]
    assert (likeness < 0.35).sum() > 15
    assert (likeness > 0.5).sum() > 5
    assert not joined[likeness < 0.35].any()
    assert joined[likeness > 0.5].all()


def test_texts_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text has one signature, whatever stands beside it and wherever its slices are cut."""
    rng = random.Random(2)
    texts = [rng.randbytes(n) for n in (3_000, 15, 16, 17, 31, 64, 100, 0, 5_000, 40)]
    texts.append(b"same windows again and again " * 99)
    alone = np.array([signature(text) for text in texts])
    for size in (64, 100, 2_985, 2_986, 1 << 15):
        monkeypatch.setattr(minhash, "_SLICE", size)
        np.testing.assert_array_equal(signatures(texts), alone)


def test_one_window_in_four_is_sampled() -> None:
    _, counts = minhash._least_hashes([random.Random(3).randbytes(40_015)], sample=True)
    assert abs(counts[0] - 10_000) < 4 * np.sqrt(7_500)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 2**32))
def test_candidates_are_the_few_before_in_the_band(bands: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, 4, np.uint64)[bands]
    ids = np.sort(rng.choice(1_000, len(bands), replace=False))
    shuffled = rng.permutation(len(bands))
    pairs = candidate_pairs(hashes[shuffled], ids[shuffled], 1_000)
    expected = set()
    for band in set(bands):
        members = ids[np.array(bands) == band].tolist()
        for i, member in enumerate(members):
            expected |= {(other, member) for other in members[max(i - 16, 0) : i]}
    assert len(pairs) == len(expected)
    assert set(map(tuple, pairs.tolist())) == expected


def test_clusters_are_those_of_all_candidates() -> None:
    """Leaving out pairs that other bands have joined changes no cluster."""
    rng = np.random.default_rng(0)
    families = rng.integers(0, 2**16, (60, NUM_HASHES), np.uint16)
    found = families[rng.integers(0, 60, 300)]
    changed = rng.random(found.shape) < rng.uniform(0, 0.7, (300, 1))
    found[changed] = rng.integers(0, 2**16, changed.sum())
    ids = np.arange(300)
    pairs = np.concatenate(
        [candidate_pairs(hashes, ids, 300) for hashes in band_hashes(found, 0.35)]
    )
    edges = pairs[alike(found[pairs[:, 0]], found[pairs[:, 1]], 0.35)]
    assert 60 < len(set(clusters_of(ids, edges).tolist())) < 250
    few = near_duplicate_edges(found, ids, 0.35)
    assert len(few) < len(edges)
    np.testing.assert_array_equal(clusters_of(ids, few), clusters_of(ids, edges))


def test_a_band_that_all_share_is_not_all_pairs() -> None:
    """A license at the top of every document: nothing is joined, and not for ever."""
    rng = np.random.default_rng(0)
    found = rng.integers(0, 2**16, (20_000, NUM_HASHES), np.uint16)
    found[:, :30] = found[0, :30]
    assert not len(near_duplicate_edges(found, np.arange(20_000), 0.35))


@pytest.mark.parametrize("threshold", [0.35, 0.5, 0.8])
def test_bands_miss_little(threshold: float) -> None:
    bands, rows = choose_bands(threshold)
    assert bands * rows <= NUM_HASHES
    above = min(threshold + 0.1, 1.0)
    assert (1 - above**rows) ** bands < 0.05


def test_codec_tables_of_the_standard_library_are_one_cluster() -> None:
    folder = Path(sysconfig.get_path("stdlib")) / "encodings"
    files = sorted(folder.glob("*.py"))
    texts = [path.read_bytes() for path in files]
    generated = np.array([b"gencodec.py" in t and b"decoding_map" not in t for t in texts])
    if generated.sum() < 10:
        pytest.skip("this interpreter comes without its codec tables")
    clusters = cluster(texts)
    assert len(set(clusters[generated])) == 1
    names = [path.stem for path, is_table in zip(files, generated, strict=True) if is_table]
    assert {"cp1252", "cp037", "iso8859_1", "iso8859_15", "koi8_r"} <= set(names)
    other = {path.stem: c for path, c in zip(files, clusters, strict=True)}
    assert other["aliases"] != other["cp1252"], "not everything is a codec table"


def test_the_standard_library_does_not_run_together() -> None:
    """A chain of half-alike files must not swallow the corpus."""
    root = Path(sysconfig.get_path("stdlib"))
    paths = sorted(p for p in root.glob("*.py") if p.stat().st_size)
    assert len(paths) > 100
    sizes = np.bincount(cluster([path.read_bytes() for path in paths]))
    assert sizes.max() <= 5
    assert len(sizes) >= 0.9 * len(paths)
