"""Training-time position augmentation: longer contexts' positions in short training sequences.

pose:    skip-wise positions (PoSE; Zhu et al., arXiv:2309.10400). A row is cut at random columns
         into chunks; chunk 0 keeps its positions, each later one begins as many positions later as
         is sampled, u_i ~ U{u_(i-1), ..., T - L} for the target length T and rows of L tokens. The
         text stays contiguous. Goes with any RoPE scaling.
shift:   all positions of a row are shifted by t ~ U{0, ..., T - L}, each row by its own (the random
         shift of learned positions in Zhou et al., arXiv:2310.16028). For vectors that are added to
         the embeddings; differences of positions stay as they are.
e2_llm:  a sampled scale and offset (E2-LLM; Liu et al., arXiv:2401.06951). RoPE sees (m + t) / g
         with g ~ U{1, ..., T / R} for the training length R, and t sampled so that no position goes
         beyond R. The first tokens keep t = 0: an offset of all changes no distance. In scores g is
         what the length asks for: the method "linear" with multiplier 1.
clex:    for the scheme "clex" (arXiv:2310.16450): t ~ U{1, ..., T / R}, and positions sampled from
         t L ones without replacement, sorted, the first and the last of them always.

Beside these kinds of a phase, randomized positions are a setting of the model (Ruoss et al.,
arXiv:2305.16843): a sequence of n tokens gets n distinct positions of a much longer range, sampled
uniformly and sorted, at evaluation too, as in the paper. So the model sees positions of the whole
range however short the sequences are. Only the scheme sees them; masks go by index and segment.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from lengthwise.model.positions.settings import ContextExtension

FIXED_TOKENS = 4  # at the start of a document, which E2-LLM's offset doesn't move


def pose_positions(
    key: jax.Array, rows_B: jax.Array, positions_BL: jax.Array, extension: ContextExtension
) -> jax.Array:
    """PoSE's positions, int32 [B, L] in [0, target_length); cuts and skips are sampled by row.

    Args:
      rows_B: int32, numbers of the rows in the batch, which decide what is sampled for them.
      positions_BL: indices in the document. Each document of a packed row is cut alike.
    """
    length = positions_BL.shape[1]
    room = extension.target_length - length

    def of_row(row: jax.Array, positions_L: jax.Array) -> jax.Array:
        cut_key, skip_key = jax.random.split(jax.random.fold_in(key, row))
        cuts_N = jnp.sort(jax.random.randint(cut_key, (extension.chunks - 1,), 1, max(length, 2)))
        skip = jnp.int32(0)
        skipped_L = positions_L
        for number in range(extension.chunks - 1):
            draw = jax.random.fold_in(skip_key, number)
            further = jax.random.randint(draw, (), skip, room + 1)
            skipped_L = skipped_L + jnp.where(positions_L >= cuts_N[number], further - skip, 0)
            skip = further
        return skipped_L

    return jax.vmap(of_row)(rows_B, positions_BL)


def shifted_positions(
    key: jax.Array, rows_B: jax.Array, positions_BL: jax.Array, target_length: int
) -> jax.Array:
    """Positions shifted as a whole, int32 [B, L] in [0, target_length); each row by its own t.

    rows_B: int32, numbers of the rows in the batch.
    """
    length = positions_BL.shape[1]

    def of_row(row: jax.Array) -> jax.Array:
        return jax.random.randint(jax.random.fold_in(key, row), (), 0, target_length - length + 1)

    return positions_BL + jax.vmap(of_row)(rows_B)[:, None]


def e2_llm_scale(
    extension: ContextExtension, seed: int, step: int, longest: int, length: int
) -> tuple[int, int]:
    """E2-LLM's (g, t) of a step, a pure function of (seed, step).

    longest: R, the longest training sequence; length: tokens of this step's sequences.
    """
    rng = np.random.default_rng([seed, step, 0xE2])
    scale = int(rng.integers(1, extension.target_length // longest, endpoint=True))
    return scale, int(rng.integers(0, scale * longest - length, endpoint=True))


def clex_positions(
    extension: ContextExtension, seed: int, step: int, longest: int, length: int
) -> tuple[int, np.ndarray]:
    """CLEX's t of a step and its positions, int32 [L], a pure function of (seed, step)."""
    rng = np.random.default_rng([seed, step, 0xC1E8])
    factor = int(rng.integers(1, extension.target_length // longest, endpoint=True))
    within = 1 + rng.choice(factor * length - 2, length - 2, replace=False)
    return factor, np.sort(np.array([0, *within, factor * length - 1], np.int32))


def offset_positions(positions_BL: jax.Array, offset: jax.Array | np.int32) -> jax.Array:
    """E2-LLM's m + t, int32 [B, L]; the first FIXED_TOKENS of a document keep m."""
    return positions_BL + jnp.where(positions_BL >= FIXED_TOKENS, offset, 0)


def randomized_positions(
    key: jax.Array, length: int, span: int, segment_ids_BL: jax.Array | None
) -> jax.Array:
    """Positions in [0, span), int32: [1, length], or [B, length] with segments.

    All rows share one sample, as a batch does in the paper. In a packed row each document has a
    sorted part of it, which is distributed as a sample for that document alone; so it is in a
    padded row, where the padding is a segment.

    segment_ids_BL: each segment one stretch of its row. `length` must not exceed `span`.
    """
    drawn_L = jax.random.choice(key, span, (length,), replace=False).astype(jnp.int32)
    return sorted_positions(drawn_L, segment_ids_BL)


def sorted_positions(drawn_L: jax.Array, segment_ids_BL: jax.Array | None) -> jax.Array:
    """Sampled positions, sorted within each segment; see `randomized_positions`."""
    if segment_ids_BL is None:
        return jnp.sort(drawn_L)[None]
    before_BL = jnp.pad(segment_ids_BL[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    stretch_BL = jnp.cumsum(segment_ids_BL != before_BL, axis=1)
    drawn_BL = jnp.broadcast_to(drawn_L[None], segment_ids_BL.shape)
    return jax.lax.sort((stretch_BL, drawn_BL), dimension=1, num_keys=2)[1]
