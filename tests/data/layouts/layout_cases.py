"""Documents without a store, random layouts of them, and what their rows hold, read one by one."""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
from hypothesis import strategies as st

from lengthwise.data.layouts import BucketIndex, LayoutConfig, LayoutIndex, build_layout

DECOMPOSE = LayoutConfig(
    name="decompose",
    targets="all",
    smallest_bucket=8,
    largest_bucket=64,
    cut="longest_first",
    tails="pack",
    mixture="natural",
    shares=(),
    document_mask=True,
    join_order="random",
    window_start=0,
    window_rate=0.0,
    block_tokens=1 << 30,
)


def changed(**fields: object) -> LayoutConfig:
    return dataclasses.replace(DECOMPOSE, **fields)  # type: ignore[arg-type]


CONCAT = changed(name="concat_and_chunk", largest_bucket=16, document_mask=False)
PACK = changed(name="pack", largest_bucket=32)
PAD = changed(name="pad", largest_bucket=32)
WHOLE = changed(name="whole", largest_bucket=256)
WINDOW = changed(name="window", largest_bucket=32, window_start=4, window_rate=0.5)
PUBLISHED = changed(cut="published", tails="drop")


class MemoryDocuments:
    """Documents of given lengths in tokens, which lie one behind the other."""

    def __init__(
        self,
        lengths: list[int],
        ids: list[int] | None = None,
        domains: list[int] | None = None,
        groups: list[int] | None = None,
    ):
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.ids = np.sort(np.arange(len(lengths)) if ids is None else np.array(ids, np.int64))
        self.domain = np.zeros(len(lengths), np.int64) if domains is None else np.array(domains)
        self.group = np.zeros(len(lengths), np.uint64)
        if groups is not None:
            self.group = np.array(groups, np.uint64)
        self.domains = tuple("abcd"[: self.domain.max(initial=0) + 1])
        self.fingerprint = repr((lengths, ids, domains, groups))

    def select(self, first: int, last: int) -> np.ndarray:
        return self.ids[(self.ids >= first) & (self.ids < last)]

    def domain_of(self, ids: np.ndarray) -> np.ndarray:
        return self.domain[ids]

    def group_of(self, ids: np.ndarray) -> np.ndarray:
        return self.group[ids]

    def document(self, token: int) -> int:
        """The document that holds a token."""
        return int(np.searchsorted(self.offsets, token, side="right")) - 1


def build(
    config: LayoutConfig, lengths: list[int], seed: int = 0, **documents: list[int] | None
) -> LayoutIndex:
    return build_layout(config, MemoryDocuments(lengths, **documents), seed)


def pieces_of(bucket: BucketIndex, row: int) -> list[tuple[int, int]]:
    """First token and number of tokens of each piece of a row."""
    pieces = bucket.pieces(np.array([row]))
    return list(zip(pieces.start.tolist(), pieces.tokens.tolist(), strict=True))


def rows_of(layout: LayoutIndex) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Length, row id and pieces of every row."""
    for length, bucket in layout.buckets.items():
        for row in range(bucket.rows):
            yield length, row, pieces_of(bucket, row)


def segments_of(layout: LayoutIndex, pieces: list[tuple[int, int]]) -> list[list[int]]:
    """The tokens of each segment of a row; its targets are all but the first."""
    tokens = [list(range(start, start + size)) for start, size in pieces]
    return [list(itertools.chain(*tokens))] if layout.joined else tokens


def targets_of(layout: LayoutIndex) -> Iterator[int]:
    """The global position of each valid target."""
    for _, _, pieces in rows_of(layout):
        for segment in segments_of(layout, pieces):
            yield from segment[1:]


@st.composite
def documents(draw: st.DrawFn) -> MemoryDocuments:
    """Up to 25 documents, of which some are chosen, of up to 3 domains."""
    lengths = [*draw(st.lists(st.integers(1, 300), max_size=24)), 150]
    ids = draw(st.sets(st.integers(0, len(lengths) - 1))) | {len(lengths) - 1}
    domains = draw(st.lists(st.integers(0, 2), min_size=len(lengths), max_size=len(lengths)))
    groups = draw(st.lists(st.integers(0, 4), min_size=len(lengths), max_size=len(lengths)))
    return MemoryDocuments(lengths, sorted(ids), domains, groups)


@st.composite
def configs(draw: st.DrawFn, *, keeps_all: bool = False) -> LayoutConfig:
    """Any layout; `keeps_all`: one that drops nothing."""
    blocks = draw(st.sampled_from([64, 500, 1 << 30]))
    mask = draw(st.booleans())
    single = [
        changed(name="pack", largest_bucket=32, document_mask=mask),
        changed(name="pad", largest_bucket=32),
    ]
    tails = draw(st.sampled_from(["pack", "pad"] if keeps_all else ["pack", "pad", "drop"]))
    mixture, shares = draw(
        st.sampled_from(
            [
                ("natural", ()),
                ("equal_tokens", ()),
                ("explicit", (0.7, 0.1, 0.1, 0.1)),
                ("explicit", (0.0, 0.0, 0.5, 0.5)),
                ("explicit", (1.0, 0.0, 0.0, 0.0)),
            ]
        )
    )
    cut = draw(st.sampled_from(["longest_first", "shuffled"]))
    mixed = changed(
        cut=cut, tails=tails, mixture=mixture, shares=shares, document_mask=mask or tails != "pack"
    )
    choices = [mixed, mixed, *single]
    if not keeps_all:
        order = draw(st.sampled_from(["random", "related"]))
        joins = {"document_mask": mask, "join_order": order, "largest_bucket": 16}
        choices += [
            changed(name="concat_and_chunk", **joins),
            changed(name="window", window_start=4, window_rate=0.5, **joins),
            PUBLISHED,
            WHOLE,
        ]
    chosen = draw(st.sampled_from(choices))
    return dataclasses.replace(chosen, block_tokens=max(blocks, chosen.largest_bucket))


length_bins = st.sampled_from([(), (40,), (20, 100)])
