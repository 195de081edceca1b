"""Cross-entropy of tokens, without ever holding all logits of a long row.

Each device projects its own tokens to the vocabulary a chunk at a time, and again in the backward
pass: [tokens, vocabulary] in float32 would be 200 GB for a million tokens of a common tokenizer.
The unembedding is gathered once a pass, and the sum of its gradient over devices is made once, not
once a chunk.
"""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from model.backends.mesh import ROWS, SHARDS, split_mesh

_LOGITS_BYTES = 2**28  # of a device's logits that exist at a time, at most


def nats_of_logits(logits_NV: jax.Array, targets_N: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy in nats and the log-partition of each token, float32; any leading dims."""
    logits_NV = logits_NV.astype(jnp.float32)
    log_partition_N = jax.nn.logsumexp(logits_NV, axis=-1)
    target_logit_N = jnp.take_along_axis(logits_NV, targets_N[..., None], axis=-1)[..., 0]
    return log_partition_N - target_logit_N, log_partition_N


def project(x_ND: jax.Array, weight: jax.Array, vocab_axis: int, cap: float | None) -> jax.Array:
    """Logits, float32 [N, V]. weight: [V, D] or [D, V]; cap: see `ModelConfig.logit_softcap`."""
    logits_NV = jax.lax.dot_general(
        x_ND,
        weight.astype(x_ND.dtype),
        (((1,), (1 - vocab_axis,)), ((), ())),
        preferred_element_type=jnp.float32,
    )
    return logits_NV if cap is None else cap * jnp.tanh(logits_NV / cap)


def token_losses(
    x_BLD: jax.Array, targets_BL: jax.Array, weight: jax.Array, vocab_axis: int, cap: float | None
) -> tuple[jax.Array, jax.Array]:
    """Nats of each target and the log-partition of its logits, float32 [B, L].

    x: after the final norm; weight, vocab_axis, cap: see `project`.
    """
    run = functools.partial(_losses_here, vocab_axis=vocab_axis, cap=cap)
    mesh = split_mesh()
    if mesh is None or mesh.size == 1:
        return run(x_BLD, targets_BL, weight)
    columns = PartitionSpec(ROWS, "context")
    split = weight.shape[1 - vocab_axis] % (mesh.shape["data"] * mesh.shape["context"]) == 0
    held = (
        PartitionSpec(*((None, SHARDS) if vocab_axis == 0 else (SHARDS, None))) if split else None
    )

    def on_device(x_BLD: jax.Array, targets_BL: jax.Array, part: jax.Array) -> tuple:
        if split:
            part = jax.lax.all_gather(part, SHARDS, axis=1 - vocab_axis, tiled=True)
        return run(x_BLD, targets_BL, part)

    return jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(columns, columns, held or PartitionSpec()),
        out_specs=(columns, columns),
        axis_names={*ROWS, "context"},
        check_vma=False,
    )(x_BLD, targets_BL, weight.astype(x_BLD.dtype))


def _losses_here(
    x_BLD: jax.Array,
    targets_BL: jax.Array,
    weight: jax.Array,
    *,
    vocab_axis: int,
    cap: float | None,
) -> tuple[jax.Array, jax.Array]:
    """The losses of one device's tokens."""
    B, L, D = x_BLD.shape
    x_ND, targets_N = x_BLD.reshape(-1, D), targets_BL.reshape(-1)
    parts = chunks_of(B * L, weight.shape[vocab_axis])

    def losses(x_ND: jax.Array, targets_N: jax.Array, weight: jax.Array) -> tuple:
        return nats_of_logits(project(x_ND, weight, vocab_axis, cap), targets_N)

    if parts == 1:
        nats_N, log_partition_N = losses(x_ND, targets_N, weight)
    else:
        # In float32, so that the sum of the gradients of the chunks is.
        weight = weight.astype(jnp.float32)
        rematerialized = jax.checkpoint(losses)
        _, (nats_N, log_partition_N) = jax.lax.scan(
            lambda _, chunk: (None, rematerialized(*chunk, weight)),
            None,
            (x_ND.reshape(parts, -1, D), targets_N.reshape(parts, -1)),
        )
    return nats_N.reshape(B, L), log_partition_N.reshape(B, L)


def chunks_of(tokens: int, vocab_size: int) -> int:
    """In how many equal chunks a device computes the logits of its tokens."""
    parts = max(1, -(-tokens * vocab_size * 4 // _LOGITS_BYTES))
    return next(n for n in range(min(parts, tokens), tokens + 1) if tokens % n == 0)
