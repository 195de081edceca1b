"""Clusters of near-duplicate documents: MinHash signatures and locality-sensitive hashing.

Broder, "On the resemblance and containment of documents", 1997. The set of a document is its
16-byte windows, so that any script and any code works without a notion of words. Windows are
sampled by their own hash (about one in four, the same ones in every document), which leaves the
Jaccard index of two documents as it is and costs a quarter.

Measured on the standard library of CPython 3.11 (1,759 documents): at a threshold of 0.35 the 52
generated codec tables, EBCDIC among them, are one cluster and the largest there is; the next are
the 24 wrappers of the multi-byte codecs, 17 older codec tables and 14 codec wrappers. 14 % of the
documents have a near-duplicate. At 0.4 the codec tables begin to fall apart; shingles of three
words in place of bytes separate the EBCDIC tables already at 0.3.
"""

import datasketch
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

NUM_HASHES = 128  # a signature estimates the Jaccard index with a standard error of at most 0.044
# Part of the split rule, and so of the corpus fingerprint.
SCHEME = "windows 16 bytes, 1 in 4, affine32 x 128, seed 1, LSH weights 0.1 0.9"

_WINDOW = 16  # bytes, a power of two
_SAMPLE = np.uint64(4)
_FEW = 8  # documents with fewer sampled windows than this use all of theirs
_SLICE = 1 << 16  # windows hashed at a time, to stay in the cache
_SEED = 1
_PERMUTATIONS = datasketch.MinHash(num_perm=NUM_HASHES, seed=_SEED).permutations


def signature(text: bytes) -> np.ndarray:
    """MinHash signature of a document, uint32 [NUM_HASHES]. Equal texts have equal ones."""
    minhash = datasketch.MinHash(
        hashvalues=np.full(NUM_HASHES, 2**32 - 1, np.uint32),
        permutations=_PERMUTATIONS,
        seed=_SEED,
        scheme="affine32",
        hashfunc=int,
    )
    hashes = _window_hashes(text).tolist()
    for start in range(0, len(hashes), 2048):
        minhash.update_batch(hashes[start : start + 2048])
    return np.asarray(minhash.hashvalues, np.uint32)


def _window_hashes(text: bytes) -> np.ndarray:
    """Distinct 32-bit hashes of the sampled windows of `text`, at least one."""
    bytes_u8 = np.frombuffer(text.ljust(_WINDOW, b"\0"), np.uint8)
    all_hashes, sampled = [], []
    for start in range(0, bytes_u8.size - _WINDOW + 1, _SLICE):
        # Hash of 2w bytes from the hashes of two neighbours of w bytes, modulo 2^64.
        hashes = bytes_u8[start : start + _SLICE + _WINDOW - 1].astype(np.uint64)
        hashes += np.uint64(1)
        width, multiplier = 1, 0xD6E8FEB86659FD93
        while width < _WINDOW:
            hashes = hashes[:-width] * np.uint64(multiplier) + hashes[width:]
            multiplier = multiplier * multiplier % 2**64
            width *= 2
        hashes ^= hashes >> np.uint64(32)
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        values = (hashes >> np.uint64(32)).astype(np.uint32)
        sampled.append(values[(hashes >> np.uint64(20)) % _SAMPLE == 0])
        if not start:
            all_hashes.append(values)
    chosen = np.concatenate(sampled)
    # Only a short document has few samples; then its first slice is the whole of it.
    return np.unique(chosen if chosen.size >= _FEW else np.concatenate([*all_hashes, chosen]))


def cluster_near_duplicates(signatures: np.ndarray, threshold: float) -> np.ndarray:
    """Cluster ids, int64 [N], numbered by first appearance.

    Two documents are joined when their estimated Jaccard index reaches `threshold` (in (0, 1]);
    clusters are the connected components, so they may be wider than the threshold.

    Args:
      signatures: uint32 [N, NUM_HASHES], as `signature` makes them.
    """
    distinct, inverse = np.unique(signatures, axis=0, return_inverse=True)
    # The index proposes and the signatures decide, so it is tuned to miss little (at a threshold of
    # 0.35 one pair in six of that likeness, one in fifty at 0.45). Near 1 it cannot be built.
    index = datasketch.MinHashLSH(
        threshold=min(threshold, 0.9), num_perm=NUM_HASHES, weights=(0.1, 0.9)
    )
    rows: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    for i, row in enumerate(tqdm(distinct, "near-duplicates", unit="document", delay=2)):
        minhash = datasketch.MinHash(
            hashvalues=row, permutations=_PERMUTATIONS, seed=_SEED, scheme="affine32"
        )
        near = np.array(index.query(minhash), np.int64)
        if near.size:
            near = near[(distinct[near] == row).mean(axis=1) >= threshold]
            rows.append(np.full(near.size, i))
            columns.append(near)
        index.insert(i, minhash, check_duplication=False)
    row_ids = np.concatenate([*rows, np.zeros(0, np.int64)])
    column_ids = np.concatenate([*columns, np.zeros(0, np.int64)])
    shape = (len(distinct), len(distinct))
    graph = coo_array((np.ones(row_ids.size, np.bool_), (row_ids, column_ids)), shape=shape)
    _, labels = connected_components(graph, directed=False)
    _, first, numbered = np.unique(labels[inverse], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbered].astype(np.int64)
