"""Near-duplicates: signatures against exact Jaccard indices, clusters against planted ones."""

import random
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from data import near_duplicates
from data.near_duplicates import NUM_HASHES, cluster_near_duplicates, signature


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
    signatures = np.array([signature(text) for text in texts])
    assert len(np.unique(signatures, axis=0)) == len(texts)
    assert (signatures < 2**32 - 1).all()


def test_planted_families_and_loners() -> None:
    rng = random.Random(0)
    texts, family = [], []
    for i in range(60):
        words = random_text(rng, rng.randrange(50, 2_000))
        for _ in range(rng.choice([1, 1, 1, 2, 5])):
            texts.append(b" ".join(edited(rng, words, 0.02)))
            family.append(i)
    order = rng.sample(range(len(texts)), len(texts))
    clusters = cluster_near_duplicates(np.array([signature(texts[i]) for i in order]), 0.35)
    same = np.array(family)[order]
    np.testing.assert_array_equal(clusters[:, None] == clusters, same[:, None] == same)
    first = [clusters.tolist().index(c) for c in range(clusters.max() + 1)]
    assert first == sorted(first), "ids are numbered by first appearance"


def test_exact_duplicates_cluster_at_any_threshold() -> None:
    texts = [b"one text", b"another", b"one text", b"x" * 5_000, b"", b"x" * 5_000]
    signatures = np.array([signature(text) for text in texts])
    for threshold in (0.05, 0.35, 0.95, 1.0):
        assert cluster_near_duplicates(signatures, threshold).tolist() == [0, 1, 0, 2, 3, 2]


def test_threshold_decides() -> None:
    """Pairs of all likenesses: joined exactly where the signatures reach the threshold."""
    rng = random.Random(1)
    pairs = []
    for _ in range(60):
        words = random_text(rng, 500)
        pairs += [words, edited(rng, words, rng.uniform(0.05, 0.4))]
    signatures = np.array([signature(b" ".join(words)) for words in pairs])
    alike = (signatures[::2] == signatures[1::2]).mean(axis=1)
    clusters = cluster_near_duplicates(signatures, 0.35)
    joined = clusters[::2] == clusters[1::2]
    assert (alike < 0.35).sum() > 15
    assert (alike > 0.5).sum() > 5
    assert not joined[alike < 0.35].any()
    assert joined[alike > 0.5].all()


def test_slices_of_long_documents_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    text = random.Random(2).randbytes(3_000)
    whole = near_duplicates._window_hashes(text)
    assert 600 < whole.size < 900, "one window in four"
    for size in (64, 100, 2_985, 2_986):
        monkeypatch.setattr(near_duplicates, "_SLICE", size)
        np.testing.assert_array_equal(near_duplicates._window_hashes(text), whole)


def test_codec_tables_of_the_standard_library_are_one_cluster() -> None:
    folder = Path(sysconfig.get_path("stdlib")) / "encodings"
    files = sorted(folder.glob("*.py"))
    texts = [path.read_bytes() for path in files]
    generated = np.array([b"gencodec.py" in t and b"decoding_map" not in t for t in texts])
    if generated.sum() < 10:
        pytest.skip("this interpreter comes without its codec tables")
    clusters = cluster_near_duplicates(np.array([signature(text) for text in texts]), 0.35)
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
    signatures = np.array([signature(path.read_bytes()) for path in paths])
    sizes = np.bincount(cluster_near_duplicates(signatures, 0.35))
    assert sizes.max() <= 5
    assert len(sizes) >= 0.9 * len(paths)
