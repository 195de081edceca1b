"""Randomized positions (Ruoss et al., arXiv:2305.16843).

A sequence of n tokens gets n distinct positions of a range much longer than it, drawn uniformly and
sorted. The model sees positions from the whole range however short the sequences are, so that those
of longer ones are not new to it. Only the scheme sees them; masks go by indices and segments. As in
the paper, they are drawn at evaluation too.
"""

import jax
import jax.numpy as jnp


def randomized_positions(
    key: jax.Array, length: int, span: int, segment_ids_BL: jax.Array | None
) -> jax.Array:
    """Positions in [0, span), int32: [1, length], or [B, length] with segments.

    All rows share one draw, as a batch does in the paper. In a packed row each document has a
    sorted part of it, which is distributed as a draw for that document alone; so it is in a row
    that is filled up, where the padding is a segment.

    segment_ids_BL: each segment one stretch of its row. `length` must not exceed `span`.
    """
    drawn_L = jax.random.choice(key, span, (length,), replace=False).astype(jnp.int32)
    return placed_positions(drawn_L, segment_ids_BL)


def placed_positions(drawn_L: jax.Array, segment_ids_BL: jax.Array | None) -> jax.Array:
    """Drawn positions as rows have them, see `randomized_positions`."""
    if segment_ids_BL is None:
        return jnp.sort(drawn_L)[None]
    before_BL = jnp.pad(segment_ids_BL[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    stretch_BL = jnp.cumsum(segment_ids_BL != before_BL, axis=1)
    drawn_BL = jnp.broadcast_to(drawn_L[None], segment_ids_BL.shape)
    return jax.lax.sort((stretch_BL, drawn_BL), dimension=1, num_keys=2)[1]
