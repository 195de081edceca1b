"""Block pairs that a mask leaves empty, partly or fully visible, in closed form.

Nothing iterates over pairs of tokens: `block_classes` is a few comparisons a pair of blocks, and
`key_blocks` a few a block of queries.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lengthwise.model.attention.masks import Array, Mask

EMPTY, PARTIAL, FULL = 0, 1, 2


def block_classes(mask: Mask, length: int, q_block: int, k_block: int) -> np.ndarray:
    """Class of each block pair, EMPTY, PARTIAL or FULL, of a row that is one document.

    int8 [length / q_block, length / k_block]; both divide `length`.
    """
    first_q = np.arange(0, length, q_block)[:, None]
    first_k = np.arange(0, length, k_block)[None, :]
    last_q, last_k = first_q + q_block - 1, first_k + k_block - 1
    # The near keys of a query are a suffix of those up to it, and begin no earlier for a later one.
    near = last_k >= mask.first_key(first_q)
    all_near = np.maximum(first_k, mask.sinks) >= mask.first_key(last_q)
    visible = (first_k <= last_q) & (near | (first_k < mask.sinks))
    full = (last_k <= first_q) & (all_near | (last_k < mask.sinks))
    if mask.prefix:
        visible |= (first_q < mask.prefix) & (first_k < mask.prefix)
        full |= last_k < mask.prefix
    return visible.astype(np.int8) + full


class KeyBlocks(NamedTuple):
    """Key blocks that a query block visits: 0 .. leading - 1, then near .. stop - 1.

    Blocks full_first .. full_stop - 1, a part of near .. stop - 1, are fully visible. Leading ones
    (sinks) are not tested for being full.
    """

    leading: Array
    near: Array
    stop: Array
    full_first: Array
    full_stop: Array


def key_blocks(mask: Mask, block: int, first_q: jax.Array, last_q: jax.Array) -> KeyBlocks:
    """Key blocks of the queries first_q ... last_q, int32 arrays, in a row that is one document."""
    stop = last_q // block + 1
    near = jnp.maximum(mask.first_key(first_q), 0) // block
    leading = jnp.minimum(-(-mask.sinks // block), near)
    lowest = mask.first_key(last_q)
    full_first = jnp.where(lowest <= mask.sinks, near, -(-lowest // block))
    full_stop = (first_q + 1) // block
    if mask.prefix:
        stop = jnp.where(first_q < mask.prefix, jnp.maximum(stop, -(-mask.prefix // block)), stop)
        full_stop = jnp.maximum(full_stop, mask.prefix // block)
    full_first = jnp.clip(full_first, near, stop)
    return KeyBlocks(leading, near, stop, full_first, jnp.clip(full_stop, full_first, stop))


class SegmentBlocks(NamedTuple):
    """Segments of each block, by which a document mask narrows the block pairs."""

    lowest_BJ: jax.Array  # of the real tokens; where there are none, more than `highest`
    highest_BJ: jax.Array
    uniform_BJ: jax.Array  # whether the block is of one segment and without padding

    @classmethod
    def of(cls, segment_ids_BL: jax.Array, block: int) -> "SegmentBlocks":
        """From segment_ids, int [B, L], 0 for padding; `block` divides L."""
        B, L = segment_ids_BL.shape
        ids_BJT = segment_ids_BL.reshape(B, L // block, block)
        highest_BJ = ids_BJT.max(-1)
        none = jnp.iinfo(ids_BJT.dtype).max
        lowest_BJ = jnp.where(ids_BJT > 0, ids_BJT, none).min(-1)
        return cls(lowest_BJ, highest_BJ, (ids_BJT.min(-1) == highest_BJ) & (highest_BJ > 0))

    def narrow(self, blocks: KeyBlocks, i: jax.Array) -> KeyBlocks:
        """Narrows `blocks`, those of query block i, to ones that share a segment with it in a row.

        Blocks between the first that does and the end stay, whatever their segments: the mask of
        each pair of tokens decides there.
        """
        lowest_B, highest_B = self.lowest_BJ[:, i, None], self.highest_BJ[:, i, None]
        shared_J = ((self.lowest_BJ <= highest_B) & (self.highest_BJ >= lowest_B)).any(0)
        first = jnp.where(shared_J.any(), jnp.argmax(shared_J), blocks.stop)
        same_BJ = self.uniform_BJ & self.uniform_BJ[:, i, None] & (self.highest_BJ == highest_B)
        numbers_J = jnp.arange(shared_J.size)
        broken_J = ~same_BJ.all(0) & (numbers_J < blocks.full_stop)
        near = jnp.clip(first, blocks.near, blocks.stop)
        full_first = jnp.where(broken_J, numbers_J + 1, 0).max()
        full_first = jnp.clip(full_first, jnp.maximum(blocks.full_first, near), blocks.stop)
        return KeyBlocks(
            jnp.where(first < blocks.leading, blocks.leading, 0),
            near,
            blocks.stop,
            full_first,
            jnp.clip(blocks.full_stop, full_first, blocks.stop),
        )
