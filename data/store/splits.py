"""Splits of documents: train; selection, for choices; report, scored once.

Clusters of near-duplicates go whole to one side. Within each stratum (power of two of the longest
document's UTF-8 bytes) clusters lie on a line in the order of a seeded hash of their texts, each
as long as its bytes; selection is the first stretch of that line, report the last. So shares are
met in bytes per stratum, and a document more or less moves only the clusters at the two cuts.
"""

import enum
import hashlib
import math

import numpy as np

from lengthwise.common.errors import UserError

RULE = "whole clusters, log2 byte strata, cuts on a hashed line"  # part of the corpus fingerprint


class Split(enum.IntEnum):
    TRAIN = 0
    SELECTION = 1
    REPORT = 2


def check_shares(selection_share: float, report_share: float) -> None:
    """Raises UserError unless both are in [0, 1) and leave something to train on."""
    for name, share in (("selection", selection_share), ("report", report_share)):
        if not 0 <= share < 1:
            raise UserError(f"data.{name}_share={share} must be at least 0 and below 1")
    if selection_share + report_share >= 1:
        raise UserError(
            f"data.selection_share={selection_share} and data.report_share={report_share} "
            "leave nothing to train on"
        )


def strata_of_clusters(longest_bytes: np.ndarray, share: float) -> np.ndarray:
    """Stratum of each cluster, int64, from the bytes of its longest document.

    Neighbouring powers of two are merged until a stratum has the 1/share clusters that it takes
    to give one away.
    """
    powers = np.log2(longest_bytes).astype(np.int64)
    enough = math.ceil(1 / share)
    strata = np.zeros(powers.max() + 1, np.int64)
    stratum, size = 0, 0
    counts = np.bincount(powers)
    for power, count in enumerate(counts):
        if size >= enough and counts[power:].sum() >= enough:
            stratum, size = stratum + 1, 0
        strata[power] = stratum
        size += int(count)
    return strata[powers]


def assign_splits(
    num_bytes: np.ndarray,
    clusters: np.ndarray,
    digests: np.ndarray,
    *,
    selection_share: float,
    report_share: float,
    seed: int,
) -> np.ndarray:
    """Split of each document, uint8 [N].

    Args:
      num_bytes: int64 [N], positive, UTF-8 bytes of each document.
      clusters: int64 [N], ids from 0, each of which occurs.
      digests: uint8 [N, 16], hashes of the texts; with the seed they alone decide the order.
      selection_share, report_share: asked shares of all bytes.

    Raises:
      UserError: impossible shares.

    With fewer clusters than splits to fill, the report split comes before the selection split, and
    both after the train split: what is left is empty.
    """
    check_shares(selection_share, report_share)
    held_out = {Split.SELECTION: selection_share, Split.REPORT: report_share}
    held_out = {split: share for split, share in held_out.items() if share > 0}
    if not held_out:
        return np.zeros(len(num_bytes), np.uint8)
    num_clusters = int(clusters.max()) + 1
    while num_clusters <= len(held_out):
        del held_out[min(held_out)]  # selection before report
    if not held_out:
        return np.zeros(len(num_bytes), np.uint8)
    mass = np.bincount(clusters, weights=num_bytes)
    longest = np.zeros(num_clusters, np.int64)
    np.maximum.at(longest, clusters, num_bytes)
    order = np.argsort(_cluster_hashes(clusters, digests, num_clusters, seed), kind="stable")
    smallest_share, both = min(held_out.values()), sum(held_out.values())
    most = (1 + both) / (2 * both)
    strata = strata_of_clusters(longest, smallest_share)
    chosen = np.full(num_clusters, Split.TRAIN, np.uint8)
    for stratum in range(int(strata.max()) + 1):
        members = order[strata[order] == stratum]
        total = mass[members].sum()
        # A cluster heavier than a whole quota (the codec tables of the standard library) would
        # be most of what is held out at its length, and all alike: it is trained on.
        line = members[mass[members] <= smallest_share * total]
        length = mass[line].sum()
        # The others make up for it, but at least half of their intended training share stays.
        quotas = {name: share * min(total, most * length) for name, share in held_out.items()}
        middles = np.cumsum(mass[line]) - mass[line] / 2
        chosen[line[middles < quotas.get(Split.SELECTION, 0)]] = Split.SELECTION
        chosen[line[length - middles < quotas.get(Split.REPORT, 0)]] = Split.REPORT
    for split in (Split.TRAIN, *held_out):
        if not (chosen == split).any():  # a corpus of a few documents
            most_common = np.bincount(chosen).argmax()
            chosen[order[chosen[order] == most_common][0]] = split
    return chosen[clusters]


def _cluster_hashes(
    clusters: np.ndarray, digests: np.ndarray, num_clusters: int, seed: int
) -> np.ndarray:
    """uint64 [num_clusters]: the least hash of (seed, text) in each cluster."""
    key = str(seed).encode()
    hashes = np.array(
        [
            int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8, key=key).digest())
            for row in digests
        ],
        np.uint64,
    )
    least = np.full(num_clusters, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(least, clusters, hashes)
    return least
