"""cuDNN's fused attention on NVIDIA GPUs, by way of jax.

Only what can be said without an array of length x length goes to it: causal masks and windows over
rows of one document. Which arguments mean which mask is checked against `Mask.allowed` through
XLA's implementation of the same call; the kernel itself runs on a GPU only.
"""

import jax

from lengthwise.model.attention.masks import Mask


def cudnn_attention(
    q_BLHC: jax.Array, k_BLKC: jax.Array, v_BLKC: jax.Array, *, mask: Mask, fused: bool = True
) -> jax.Array:
    """Attention output [B, L, H, C]. fused False: by XLA, on any platform."""
    return jax.nn.dot_product_attention(
        q_BLHC,
        k_BLKC,
        v_BLKC,
        is_causal=True,
        # Keys to the left and right of the query's own.
        local_window_size=None if mask.window is None else (mask.window - 1, 0),
        implementation="cudnn" if fused else "xla",
    )
