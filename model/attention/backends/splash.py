"""Splash attention, the Pallas kernel for TPUs that comes with jax.

jax's own copy (`jax.experimental.pallas.ops.tpu.splash_attention`) and not tokamax's: it is public
and pinned with jax, takes other values than keys in width, and gives the right gradients when it is
interpreted on a CPU, which is how the tests check it. tokamax keeps its newer one under a private
path, and its dispatching function refuses biases and windows on TPUs.

Only the grid over blocks is made here. The stock construction looks at every pair of tokens, 40
seconds for a row of 131072; `mask_blocks` classes blocks in closed form. Inside a block the kernel
computes the mask by `Mask.allowed`.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
from jax.experimental.pallas.ops.tpu.splash_attention.splash_attention_mask_info import MaskInfo

from lengthwise.model.attention.backends.support import LANES
from lengthwise.model.attention.biases import LinearBias
from lengthwise.model.attention.mask_blocks import EMPTY, block_classes
from lengthwise.model.attention.masks import Mask
from lengthwise.model.parallel.mesh import on_each_device, row_devices
from lengthwise.model.parallel.zigzag import column_at

_LONGEST_BLOCK = 512
_DIGITS = 3  # base 256, so that bfloat16 holds each: positions up to 2**24
_SLOPE_PARTS = 3  # bfloat16 numbers that add up to a float32


def splash_attention(
    q_BLHC: jax.Array,
    k_BLKC: jax.Array,
    v_BLKC: jax.Array,
    *,
    mask: Mask,
    segment_ids_BL: jax.Array | None,
    positions_BL: jax.Array,
    bias: LinearBias | None,
    softcap: float,
    interpret: bool = False,
) -> jax.Array:
    """Attention output [B, L, H, C]; any length, padded to whole blocks inside.

    positions: int [B or 1, L], below 2**24. interpret: run the kernel on any platform, slowly.
    Queries of segment 0 get finite values without meaning. Raises ValueError for positions that are
    no integers.
    """
    _, L, _, C = q_BLHC.shape
    padding = -L % LANES
    q_BLHC = q_BLHC * C**-0.5
    if bias is not None:
        q_BLHC, k_BLKC = _with_bias(q_BLHC, k_BLKC, positions_BL, bias)
    # Padded keys come after every real query, so the causal mask hides them; a prefix must not
    # reach them.
    mask = replace(mask, prefix=min(mask.prefix, L))

    def by_head(x_BLHC: jax.Array) -> jax.Array:
        return jnp.pad(x_BLHC, ((0, 0), (0, padding), (0, 0), (0, 0))).transpose(0, 2, 1, 3)

    length, ways = L + padding, row_devices()
    block = _block(length // (2 * ways) if ways > 1 else length)

    def attend_rows(grids: Any, q: Any, k: Any, v: Any, q_ids: Any, ids: Any) -> jax.Array:
        kernel = splash_kernel(mask, grids, block, softcap, interpret)
        segments = None if ids is None else splash.SegmentIds(q=q_ids, kv=ids)
        out: Any = jax.vmap(kernel)(q, k, v, segments)
        return out

    ids_BL = segment_ids_BL
    if ids_BL is not None:
        ids_BL = jnp.pad(ids_BL, ((0, 0), (0, padding)))
    out_BHLC = on_each_device(attend_rows)(
        mask_grids(mask, length, block, ways),
        by_head(q_BLHC),
        by_head(k_BLKC),
        by_head(v_BLKC),
        ids_BL,
    )
    return out_BHLC.transpose(0, 2, 1, 3)[:, :L]


def _with_bias(
    q_BLHC: jax.Array, k_BLKC: jax.Array, positions_BL: jax.Array, bias: LinearBias
) -> tuple[jax.Array, jax.Array]:
    """Queries and keys whose products have slope * key position added.

    A row's softmax doesn't see slope * query position, which is the same for all its keys. Digits
    of positions and parts of slopes are such that bfloat16 holds each: every product is exact. What
    remains is the rounding of the sum, float32, to 2**-24 of slope * position.
    """
    B, L, H, _ = q_BLHC.shape
    if not jnp.issubdtype(positions_BL.dtype, jnp.integer):
        raise ValueError(f"splash adds a linear bias of integers, not of {positions_BL.dtype}")
    slopes_H = bias.slopes_H.astype(jnp.float32)
    rest_H, parts = jax.lax.stop_gradient(slopes_H), []
    for _ in range(_SLOPE_PARTS):
        # Not a cast there and back, which the compiler may drop.
        parts.append(jax.lax.reduce_precision(rest_H, exponent_bits=8, mantissa_bits=7))
        rest_H = rest_H - parts[-1]
    parts[0] = parts[0] + (slopes_H - jax.lax.stop_gradient(slopes_H))  # the gradient, and 0
    slopes_HP = jnp.stack(parts, axis=-1)
    weights_D = 256.0 ** np.arange(_DIGITS, dtype=np.float32)
    slopes_HE = (slopes_HP[:, :, None] * weights_D[None, None]).reshape(H, -1)
    digits_BLD = jnp.stack([positions_BL // 256**d % 256 for d in range(_DIGITS)], axis=-1)
    digits_BLE = jnp.tile(digits_BLD, (1, 1, _SLOPE_PARTS))
    more_q = jnp.broadcast_to(slopes_HE[None, None], (B, L, *slopes_HE.shape))
    more_k = jnp.broadcast_to(digits_BLE[:, :, None], (B, L, k_BLKC.shape[2], digits_BLE.shape[-1]))
    return (
        jnp.concatenate([q_BLHC, more_q.astype(q_BLHC.dtype)], axis=-1),
        jnp.concatenate([k_BLKC, more_k.astype(k_BLKC.dtype)], axis=-1),
    )


@dataclass(frozen=True)
class _Allowed:
    """`Mask.allowed` as the kernel calls it; equal for equal masks, so that traces are reused."""

    mask: Mask

    def __call__(self, q_index: jax.Array, k_index: jax.Array) -> jax.Array:
        return self.mask.allowed(q_index, k_index)


def _block(tokens: int) -> int:
    """Block size in tokens, for chunks of a multiple of LANES."""
    return next(b for b in range(_LONGEST_BLOCK, 0, -LANES) if tokens % b == 0)


def splash_kernel(
    mask: Mask,
    grids: tuple[MaskInfo, MaskInfo],
    block: int,
    softcap: float,
    interpret: bool,
) -> splash.SplashAttentionKernel:
    """The kernel over one device's `mask_grids`, with its gradients."""
    by_query, by_key = grids
    sizes = splash.BlockSizes(
        block_q=block,
        block_kv=block,
        block_kv_compute=block,
        block_q_dkv=block,
        block_kv_dkv=block,
        block_kv_dkv_compute=block,
        block_q_dq=block,
        block_kv_dq=block,
    )
    return splash.SplashAttentionKernel(
        by_query,
        by_query,
        by_key,
        block_sizes=sizes,
        is_mqa=False,
        save_residuals=False,
        mask_value=splash.DEFAULT_MASK_VALUE,
        attn_logits_soft_cap=softcap or None,
        residual_checkpoint_name=None,
        mask_function=_Allowed(mask),
        interpret=interpret,
    )


@lru_cache(maxsize=64)
def mask_grids(mask: Mask, length: int, block: int, ways: int) -> tuple[MaskInfo, MaskInfo]:
    """Block grids of the kernel: for outputs and query gradients, and for key gradients.

    What `process_mask` and `process_mask_dkv` of the kernel's own library make of the whole mask,
    by device of the `ways` that share a row: the first dimension. A device has the queries of its
    columns (model.parallel.zigzag) and all keys.
    """
    classes_IJ = block_classes(mask, length, block, block)
    blocks = length // block
    columns_SI = column_at(np.arange(blocks), blocks, ways).reshape(ways, -1)
    classes_SIJ = classes_IJ[columns_SI]
    blank_SIJ = classes_SIJ == EMPTY
    # In a row the visits come first, in a column last: where the kernel begins and ends them.
    by_row = np.argsort(blank_SIJ, axis=2, kind="stable")
    by_column = np.argsort(~blank_SIJ.swapaxes(1, 2), axis=2, kind="stable")
    most_in_row, most_in_column = (~blank_SIJ).sum(2).max(), (~blank_SIJ).sum(1).max()
    of_rows = [
        _visits(classes, order[:, :most_in_row])
        for classes, order in zip(classes_SIJ, by_row, strict=True)
    ]
    of_columns = [
        _visits(classes.T, order[:, -most_in_column:])
        for classes, order in zip(classes_SIJ, by_column, strict=True)
    ]
    columns_SL = column_at(np.arange(length, dtype=np.int32), length, ways).reshape(ways, -1)
    return (
        _mask_info(of_rows, columns_SL),
        _mask_info([(classes.T, following.T) for classes, following in of_columns], columns_SL),
    )


def _visits(classes_XY: np.ndarray, order_XW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes of the blocks y that each x visits in `order`, and the block to fetch for each.

    That is the block itself, where it is not empty.
    """
    visited = np.flatnonzero(classes_XY)
    following = np.searchsorted(visited, np.arange(classes_XY.size)) % visited.size
    following_XY = (visited[following] % classes_XY.shape[1]).reshape(classes_XY.shape)
    classes_XW = np.take_along_axis(classes_XY, order_XW, axis=1)
    following_XW = np.take_along_axis(following_XY, order_XW, axis=1)
    return classes_XW, np.where(classes_XW == EMPTY, 0, following_XW)


def _mask_info(visits: list[tuple[np.ndarray, np.ndarray]], columns_SL: np.ndarray) -> MaskInfo:
    """For one mask that all heads share. In the smallest type: the kernel's scalars are few."""
    classes = np.stack([classes for classes, _ in visits])
    following = np.stack([following for _, following in visits])
    largest = following.max()
    small = np.int8 if largest < 1 << 7 else np.int16 if largest < 1 << 15 else np.int32
    return MaskInfo(
        data_next=following[:, None].astype(small),
        mask_next=None,
        block_mask=classes[:, None].astype(np.int8),
        partial_mask_blocks=None,
        q_sequence=columns_SL,
    )
