"""cuDNN's fused attention on NVIDIA GPUs, by way of jax.

It serves masks that need no array of length x length: causal ones and windows over rows of one
document. The tests compare its arguments with `Mask.allowed` by XLA's implementation of the same
call; the kernel itself runs on a GPU only.
"""

import jax

from lengthwise.model.attention.masks import Mask


def cudnn_attention(
    q_BLHC: jax.Array, k_BLKC: jax.Array, v_BLKC: jax.Array, *, mask: Mask, fused: bool = True
) -> jax.Array:
    """Attention output [B, L, H, C]. fused=False: by XLA, on any platform."""
    return jax.nn.dot_product_attention(
        q_BLHC,
        k_BLKC,
        v_BLKC,
        is_causal=True,
        # Keys to the left and right of the query's own.
        local_window_size=None if mask.window is None else (mask.window - 1, 0),
        implementation="cudnn" if fused else "xla",
    )
