"""Tables of a family: which rows of which of its tensors are which of our leaves.

A linear weight of theirs is [out, in], ours is [in, out], and leaves of the blocks are stacked over
the layers. Fused tensors are rows of several leaves. An entry moves numbers and changes none.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Shapes = Mapping[str, tuple[int, ...]]  # by dotted name
STACKED = "blocks."  # prefix of the leaves that have a dimension of layers


@dataclass(frozen=True, eq=False)
class Entry:
    """One leaf of ours and the tensor that it is in."""

    ours: str  # dotted name of a leaf
    theirs: str  # name of a tensor; "{}" stands for the number of the layer
    rows: np.ndarray | None = None  # rows of the tensor that are ours, in our order; None: all
    transposed: bool = False  # [out, in] of theirs is [in, out] of ours

    @property
    def stacked(self) -> bool:
        return self.ours.startswith(STACKED)


def matrix(ours: str, theirs: str, rows: np.ndarray | None = None) -> Entry:
    """An entry of a linear weight."""
    return Entry(ours, theirs, rows, transposed=True)


class LeafRows(NamedTuple):
    """The rows of one tensor that are one leaf's, in one layer of it."""

    entry: Entry
    layer: int | None  # of a stacked leaf
    rows: np.ndarray  # int [rows]


class Tensor(NamedTuple):
    """A tensor as a table expects it."""

    shape: tuple[int, ...]
    parts: tuple[LeafRows, ...]


def tensors_of(entries: Sequence[Entry], shapes: Shapes) -> dict[str, Tensor]:
    """The tensors of a model with leaves of these shapes, by name.

    Raises:
      ValueError: a leaf is in no entry or in several, or a row of a tensor isn't used once.
    """
    used = Counter(entry.ours for entry in entries)
    if used != Counter(dict.fromkeys(shapes, 1)):
        wrong = {name: used[name] for name in {*used, *shapes} if used[name] != (name in shapes)}
        raise ValueError(f"entries of leaves that must be one each: {wrong}")
    grouped: dict[str, list[Entry]] = {}
    for entry in entries:
        grouped.setdefault(entry.theirs, []).append(entry)
    tensors: dict[str, Tensor] = {}
    for name, group in grouped.items():
        whole = [_layer_shape(entry, shapes) for entry in group]
        rows = [
            np.arange(shape[0]) if entry.rows is None else np.asarray(entry.rows)
            for entry, shape in zip(group, whole, strict=True)
        ]
        count = sum(map(len, rows))
        if not np.array_equal(np.sort(np.concatenate(rows)), np.arange(count)):
            raise ValueError(f"the rows of {name} are not each used once")
        if [shape[0] for shape in whole] != [len(each) for each in rows]:
            raise ValueError(f"the rows of {name} are not as many as those of its leaves")
        if len({shape[1:] for shape in whole}) > 1 or len({e.stacked for e in group}) > 1:
            raise ValueError(f"the leaves of {name} have different columns or layers")
        layers = range(shapes[group[0].ours][0]) if group[0].stacked else (None,)
        for layer in layers:
            parts = tuple(LeafRows(e, layer, r) for e, r in zip(group, rows, strict=True))
            tensors[name.format(layer)] = Tensor((count, *whole[0][1:]), parts)
    return tensors


def _layer_shape(entry: Entry, shapes: Shapes) -> tuple[int, ...]:
    """Shape of a leaf, of one layer, as their tensor has it."""
    shape = shapes[entry.ours][1:] if entry.stacked else shapes[entry.ours]
    return shape[::-1] if entry.transposed else shape


def head_major(heads: int, head_dim: int, part: int, parts: int = 3) -> np.ndarray:
    """Rows of one part (0: q, 1: k, 2: v) of a fused tensor that goes head by head."""
    head_H1, channel_1C = np.arange(heads)[:, None], np.arange(head_dim)[None]
    return ((head_H1 * parts + part) * head_dim + channel_1C).reshape(-1)
