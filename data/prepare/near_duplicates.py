"""Clusters of near-duplicate documents: locality-sensitive hashing of MinHash signatures.

Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4: a signature is cut into
bands, documents that share a whole band are candidates, and their signatures decide. Sorting does
it, a band at a time, so that a million documents take seconds and a few hundred bytes each.

A band that very many documents share (a license at the top of each) would make every two of them a
pair. So a document is compared only with the few before it that share the band; clusters are chains
of pairs, so that copies are found all the same.

What is a pair depends on the signatures and the number of documents alone, not on who looks for
them.

Measured on the standard library of CPython 3.11 (1,762 documents): at a threshold of 0.35 the 52
generated codec tables, EBCDIC among them, are one cluster and the largest there is; the next are
the 24 wrappers of the multi-byte codecs, 18 older codec tables and 14 codec wrappers. 14 % of the
documents have a near-duplicate. At 0.4 the codec tables begin to fall apart.
"""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from lengthwise.common.progress import ProgressBar
from lengthwise.data.prepare import near_duplicates as minhash

NUM_HASHES = 128  # a signature estimates the Jaccard index with a standard error of at most 0.044
# Part of the split rule, and so of the corpus fingerprint.
SCHEME = "windows 16 bytes, 1 in 4, one permutation, 128 x 16 bits, densified"

_WINDOW = 16  # bytes, two words of 8
_SAMPLED = np.uint64(1 << 62)  # one window in four has a smaller hash
_FEW = 8  # documents with fewer sampled windows than this use all of theirs
_SLICE = 1 << 16  # windows hashed at a time, to stay in the cache
_FIRST, _SECOND, _MIX = (
    np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93)
)
_EMPTY = np.uint64(2**64 - 1)
_BIN_SHIFT = np.uint64(57)  # 64 - log2(NUM_HASHES)

_random = np.random.Generator(np.random.Philox(key=1))
# Bin b borrows from _LENDERS[0, b], or where that is empty too from _LENDERS[1, b], ...
_LENDERS = _random.permuted(np.tile(np.arange(NUM_HASHES), (NUM_HASHES, 1)), axis=1).T
# Folds the value of a bin to 16 bits, differently in every bin: short documents hold few values,
# and two different ones must not look alike in all bins at once.
_FOLD = _random.integers(0, 2**64, NUM_HASHES, np.uint64) | np.uint64(1)


def signatures(texts: Sequence[bytes]) -> np.ndarray:
    """MinHash signatures of N texts, uint16 [N, NUM_HASHES]; equal texts have equal ones."""
    least, sampled = _least_hashes(texts, sample=True)
    few = np.flatnonzero(sampled < _FEW)
    if few.size:
        least[few], _ = _least_hashes([texts[i] for i in few.tolist()], sample=False)
    _densify(least)
    least ^= least >> np.uint64(32)
    least *= _FOLD
    return (least >> np.uint64(48)).astype(np.uint16)


def _least_hashes(texts: Sequence[bytes], *, sample: bool) -> tuple[np.ndarray, np.ndarray]:
    """Least hash in each bin, uint64 [N, NUM_HASHES], and sampled windows of each text, [N]."""
    # A text shorter than a window is one window.
    joined = b"".join([t if len(t) >= _WINDOW else t.ljust(_WINDOW, b"\0") for t in texts])
    ends = np.cumsum([max(len(text), _WINDOW) for text in texts])
    bytes_u8 = np.frombuffer(joined, np.uint8)
    least = np.full(len(texts) * NUM_HASHES, _EMPTY)
    counts = np.zeros(len(texts), np.int64)
    num_windows = max(bytes_u8.size - _WINDOW + 1, 0)
    # Reused from slice to slice: new memory costs as much as the hashing.
    all_words, all_hashes, all_seconds = np.empty((3, min(num_windows, _SLICE) + 8), np.uint64)
    all_chosen = np.empty(all_hashes.size, np.bool_)
    for start in range(0, num_windows, _SLICE):
        size = min(_SLICE, num_windows - start)
        words, chosen = all_words[: size + 8], all_chosen[:size]
        words[:] = np.ndarray((size + 8,), "<u8", bytes_u8, start, strides=(1,))
        hashes = np.multiply(words[:-8], _FIRST, out=all_hashes[:size])
        hashes += np.multiply(words[8:], _SECOND, out=all_seconds[:size])
        first = int(np.searchsorted(ends, start, side="right"))
        last = int(np.searchsorted(ends, start + size)) + 1
        text_ends = ends[first:last] - start
        np.less(hashes, _SAMPLED if sample else _EMPTY, out=chosen)
        across = np.ravel(text_ends[:, None] - np.arange(1, _WINDOW))  # windows over two texts
        chosen[across[(across >= 0) & (across < size)]] = False
        at = np.flatnonzero(chosen)
        number = np.diff(np.searchsorted(at, text_ends), prepend=0)
        hashes = hashes[at]
        hashes ^= hashes >> np.uint64(29)
        hashes *= _MIX
        bins = (hashes >> _BIN_SHIFT).view(np.int64)
        bins += np.repeat(np.arange(first, first + number.size) * NUM_HASHES, number)
        np.minimum.at(least, bins, hashes)
        counts[first : first + number.size] += number
    return least.reshape(len(texts), NUM_HASHES), counts


def _densify(least: np.ndarray) -> None:
    """Densifies `least` [N, NUM_HASHES], in place: empty bins borrow; each row has a filled one."""
    texts, bins = np.nonzero(least == _EMPTY)
    values = np.full(texts.size, _EMPTY)
    left = np.arange(texts.size)
    for lenders in _LENDERS:
        values[left] = least[texts[left], lenders[bins[left]]]
        left = left[values[left] == _EMPTY]
        if not left.size:
            break
    least[texts, bins] = values


_BEFORE = 16  # earlier documents of a band with which one is compared
# Part of the split rule, and so of the corpus fingerprint.
SCHEME = f"{minhash.SCHEME}, bands, {_BEFORE} before"

_CHUNK = 1 << 15  # pairs compared at a time


@cache
def choose_bands(threshold: float) -> tuple[int, int]:
    """Number of bands, and hashes a band, for a Jaccard index.

    The pairs that are missed weigh nine times those that are looked at in vain, as the signatures
    decide anyway: at a threshold of 0.35 one pair in six of that likeness is missed, one in fifty
    at 0.45.
    """
    likeness = (np.arange(1000) + 0.5) / 1000
    missed, in_vain = likeness >= threshold, likeness < threshold

    def cost(shape: tuple[int, int]) -> float:
        bands, rows = shape
        candidate = 1 - (1 - likeness**rows) ** bands
        return float(9 * (1 - candidate[missed]).sum() + candidate[in_vain].sum())

    return min(
        ((minhash.NUM_HASHES // rows, rows) for rows in range(1, minhash.NUM_HASHES + 1)), key=cost
    )


def band_hashes(signatures: np.ndarray, threshold: float) -> Iterator[np.ndarray]:
    """Hash of each band, uint64 [N] a band: equal for documents that share it."""
    bands, rows = choose_bands(threshold)
    for band in range(bands):
        hashes = np.full(len(signatures), band + 1, np.uint64)
        for column in signatures[:, band * rows : (band + 1) * rows].T:
            hashes ^= column
            hashes *= np.uint64(0x9E3779B97F4A7C15)
            hashes ^= hashes >> np.uint64(29)
        yield hashes * np.uint64(0xD6E8FEB86659FD93)


def candidate_pairs(hashes: np.ndarray, ids: np.ndarray, num_documents: int) -> np.ndarray:
    """Pairs of documents that share a band, int64 [P, 2], the smaller id first.

    Args:
      hashes: uint64 [M], of one band; all documents with the same first bits are here.
      ids: int64 [M], in [0, num_documents), distinct.
    """
    # Hash and id in one word: one sort, no permutation. The bits that the hash loses add a few
    # candidates.
    id_bits = np.uint64(max(num_documents - 1, 1).bit_length())
    ordered = np.sort((hashes >> id_bits << id_bits) | ids.astype(np.uint64))
    bands = ordered >> id_bits
    documents = (ordered & ((np.uint64(1) << id_bits) - np.uint64(1))).astype(np.int64)
    pairs = []
    for distance in range(1, _BEFORE + 1):
        same = np.flatnonzero(bands[distance:] == bands[:-distance])
        if not same.size:
            break
        pairs.append(np.stack([documents[same], documents[same + distance]], axis=1))
    return np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int64)


def alike(first: np.ndarray, second: np.ndarray, threshold: float) -> np.ndarray:
    """Whether the estimated Jaccard indices reach the threshold, bool [P].

    Args:
      first, second: signatures, uint16 [P, NUM_HASHES].
    """
    return np.count_nonzero(first == second, axis=1) >= threshold * minhash.NUM_HASHES


def near_duplicate_edges(
    signatures: np.ndarray, copies: np.ndarray, threshold: float
) -> np.ndarray:
    """Pairs of near-duplicates whose connected components are the clusters, int64 [E, 2].

    Args:
      signatures: uint16 [N, NUM_HASHES].
      copies: int64 [N], see `first_copies`; of several copies the first is looked at.
    """
    labels = np.arange(len(signatures))
    edges = [np.zeros((0, 2), np.int64)]
    ids = np.flatnonzero(copies == labels)
    bands, _ = choose_bands(threshold)
    progress = ProgressBar(band_hashes(signatures, threshold), "near-duplicates", bands, delay=2)
    for hashes in progress:
        pairs = candidate_pairs(hashes[ids], ids, len(labels))
        # Pairs that other bands have connected already would change nothing.
        pairs = pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]
        batch_edges = [
            chunk[alike(signatures[chunk[:, 0]], signatures[chunk[:, 1]], threshold)]
            for chunk in np.split(pairs, range(_CHUNK, len(pairs), _CHUNK))
        ]
        edges += batch_edges
        if any(len(chunk) for chunk in batch_edges):
            labels = _components(np.concatenate(edges), len(signatures))
    return np.concatenate(edges)


def first_copies(digests: np.ndarray) -> np.ndarray:
    """The first document with the same content as each, int64 [N].

    Args:
      digests: uint8 [N, 16], hashes of the contents.
    """
    keys = np.ascontiguousarray(digests).view("V16").reshape(-1)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return first[inverse]


def clusters_of(copies: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Cluster ids, int64 [N], numbered by first appearance.

    Args:
      copies: int64 [N], the first document with the same content, as `first_copies` gives it.
      edges: int64 [E, 2], near-duplicates among those first documents.
    """
    labels = _components(edges, len(copies))[copies]
    _, first, numbered = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbered].astype(np.int64)


def _components(edges: np.ndarray, num_documents: int) -> np.ndarray:
    from scipy.sparse import coo_array  # a quarter of a second, for who prepares alone
    from scipy.sparse.csgraph import connected_components

    shape = (num_documents, num_documents)
    graph = coo_array((np.ones(len(edges), np.bool_), (edges[:, 0], edges[:, 1])), shape=shape)
    return connected_components(graph, directed=False)[1]
