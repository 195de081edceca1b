"""Smeared keys: a head's key is a learned mixture of the token's and the preceding token's.

k_j <- s k_j + (1 - s) k_{j-1}, s the sigmoid of one learned number a key/value head (Olsson et al.,
arXiv:2209.11895, "smeared key" architecture). One layer can then find what followed an earlier
occurrence of the query's token; without it, that takes two layers that form one after the other.

Keys are smeared before a head's norm and position: under QK-norm scores keep their scale whatever s
is, a key has one position, that of its token, and every position scheme, scaling and attention
backend gets one key a token, as ever.
"""

import jax
import jax.numpy as jnp

from lengthwise.model.attention.masks import Mask
from lengthwise.model.parallel.mesh import preceding_columns, row_columns


def smear(
    k_BLKC: jax.Array, before_BLKC: jax.Array, gate_K: jax.Array, follows_BL: jax.Array
) -> jax.Array:
    """Mixture of keys and those of the preceding tokens, by sigmoid(gate) a head.

    follows_BL: bool [B or 1, L]; where False, a key stays as it is.
    """
    own_11K1 = jax.nn.sigmoid(gate_K).astype(k_BLKC.dtype)[None, None, :, None]
    mixture_BLKC = own_11K1 * k_BLKC + (1 - own_11K1) * before_BLKC
    return jnp.where(follows_BL[:, :, None, None], mixture_BLKC, k_BLKC)


def follows_in_row(mask: Mask, length: int, segment_ids_BL: jax.Array | None) -> jax.Array:
    """Whether each token of a row has a preceding one, which it sees; bool [B or 1, L].

    Not the first token of a row, of a document under a document mask, of a chunk of the mask.
    """
    columns_1L = row_columns(length)[None]
    follows_1L = follows(mask, columns_1L)
    if segment_ids_BL is None:
        return follows_1L
    return follows_1L & (segment_ids_BL == preceding_columns(segment_ids_BL))


def follows(mask: Mask, index: jax.Array) -> jax.Array:
    """The same for tokens at indices of a row that is one document; bool."""
    return mask.allowed(index, index - 1) & (index > 0)
