"""Cross-entropy and greedy hits by token, chunked so that all logits never exist at a time.

Each device projects its own tokens to the vocabulary a chunk at a time, and again in the backward
pass: [tokens, vocabulary] in float32 would be 200 GB for a million tokens of a common tokenizer.
The unembedding is gathered once a pass, and the sum of its gradient over devices is made once, not
once a chunk.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from lengthwise.model.parallel.mesh import ROWS, SHARDS, current_mesh

_LOGITS_BYTES = 2**28  # of a device's logits that exist at a time, at most
# ([N, V] logits, [N] targets) -> two numbers of each token.
_OfLogits = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def nats_of_logits(logits_NV: jax.Array, targets_N: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy in nats and the log-partition of each token, float32; any leading dims."""
    logits_NV = logits_NV.astype(jnp.float32)
    log_partition_N = jax.nn.logsumexp(logits_NV, axis=-1)
    target_logit_N = jnp.take_along_axis(logits_NV, targets_N[..., None], axis=-1)[..., 0]
    return log_partition_N - target_logit_N, log_partition_N


def project(x_ND: jax.Array, weight: jax.Array, vocab_axis: int, cap: float) -> jax.Array:
    """Logits, float32 [N, V]. weight: [V, D] or [D, V]; cap: see `ModelConfig.logit_softcap`."""
    logits_NV = jax.lax.dot_general(
        x_ND,
        weight.astype(x_ND.dtype),
        (((1,), (1 - vocab_axis,)), ((), ())),
        preferred_element_type=jnp.float32,
    )
    return cap * jnp.tanh(logits_NV / cap) if cap else logits_NV


def nats_and_greedy(logits_NV: jax.Array, targets_N: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy in nats, float32, and whether the target is the likeliest token, bool.

    Of equally likely tokens the one of the lowest id is, so that one token at most is.
    """
    nats_N, _ = nats_of_logits(logits_NV, targets_N)
    return nats_N, jnp.argmax(logits_NV, axis=-1) == targets_N


def token_losses(
    x_BLD: jax.Array, targets_BL: jax.Array, weight: jax.Array, vocab_axis: int, cap: float
) -> tuple[jax.Array, jax.Array]:
    """Nats of each target and the log-partition of its logits, float32 [B, L].

    x: after the final norm; weight, vocab_axis, cap: see `project`.
    """
    return _by_token(nats_of_logits, x_BLD, targets_BL, weight, vocab_axis, cap)


def token_scores(
    x_BLD: jax.Array, targets_BL: jax.Array, weight: jax.Array, vocab_axis: int, cap: float
) -> tuple[jax.Array, jax.Array]:
    """Nats of each target, float32 [B, L], and whether it is the likeliest token, bool [B, L].

    The arguments are those of `token_losses`.
    """
    return _by_token(nats_and_greedy, x_BLD, targets_BL, weight, vocab_axis, cap)


def _by_token(
    of_logits: _OfLogits,
    x_BLD: jax.Array,
    targets_BL: jax.Array,
    weight: jax.Array,
    vocab_axis: int,
    cap: float,
) -> tuple[jax.Array, jax.Array]:
    """Both results of `of_logits`, [B, L] each."""
    run = functools.partial(_here, of_logits, vocab_axis=vocab_axis, cap=cap)
    mesh = current_mesh()
    if mesh is None or mesh.size == 1:
        return run(x_BLD, targets_BL, weight)
    columns = PartitionSpec(ROWS, "context")
    split = weight.shape[1 - vocab_axis] % (mesh.shape["data"] * mesh.shape["context"]) == 0
    sharding = (
        PartitionSpec(*((None, SHARDS) if vocab_axis == 0 else (SHARDS, None))) if split else None
    )

    def on_device(x_BLD: jax.Array, targets_BL: jax.Array, part: jax.Array) -> tuple:
        if split:
            part = jax.lax.all_gather(part, SHARDS, axis=1 - vocab_axis, tiled=True)
        return run(x_BLD, targets_BL, part)

    return jax.shard_map(
        on_device,
        mesh=mesh,
        in_specs=(columns, columns, sharding or PartitionSpec()),
        out_specs=(columns, columns),
        axis_names={*ROWS, "context"},
        check_vma=False,
    )(x_BLD, targets_BL, weight.astype(x_BLD.dtype))


def forward_scores(
    x_BLD: jax.Array, targets_BL: jax.Array, weight: jax.Array, vocab_axis: int, cap: float
) -> tuple[jax.Array, jax.Array]:
    """Nats of each target, float32 [B, L], and whether it is the likeliest token, bool [B, L].

    Where tokens tie, the one of the lowest id is the likeliest. Forward only, in chunks of columns.
    Arguments: see `token_losses`.
    """
    B, L, D = x_BLD.shape
    parts = chunks_of(L, B * weight.shape[vocab_axis])

    def score(xs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        x_BLD, targets_BL = xs
        logits_NV = project(x_BLD.reshape(-1, D), weight, vocab_axis, cap)
        nats_N, likeliest_N = nats_and_greedy(logits_NV, targets_BL.reshape(-1))
        return nats_N.reshape(targets_BL.shape), likeliest_N.reshape(targets_BL.shape)

    if parts == 1:
        return score((x_BLD, targets_BL))
    by_part = x_BLD.reshape(B, parts, -1, D).swapaxes(0, 1)
    scores = jax.lax.map(score, (by_part, targets_BL.reshape(B, parts, -1).swapaxes(0, 1)))
    nats_BL, likeliest_BL = (x.swapaxes(0, 1).reshape(B, L) for x in scores)
    return nats_BL, likeliest_BL


def _here(
    of_logits: _OfLogits,
    x_BLD: jax.Array,
    targets_BL: jax.Array,
    weight: jax.Array,
    *,
    vocab_axis: int,
    cap: float,
) -> tuple[jax.Array, jax.Array]:
    """Both results of `of_logits` for one device's tokens, [B, L] each."""
    B, L, D = x_BLD.shape
    x_ND, targets_N = x_BLD.reshape(-1, D), targets_BL.reshape(-1)
    parts = chunks_of(B * L, weight.shape[vocab_axis])

    def both(x_ND: jax.Array, targets_N: jax.Array, weight: jax.Array) -> tuple:
        return of_logits(project(x_ND, weight, vocab_axis, cap), targets_N)

    if parts == 1:
        first_N, second_N = both(x_ND, targets_N, weight)
    else:
        # In float32, so that the sum of the gradients of the chunks is.
        weight = weight.astype(jnp.float32)
        rematerialized = jax.checkpoint(both)
        _, (first_N, second_N) = jax.lax.scan(
            lambda _, chunk: (None, rematerialized(*chunk, weight)),
            None,
            (x_ND.reshape(parts, -1, D), targets_N.reshape(parts, -1)),
        )
    return first_N.reshape(B, L), second_N.reshape(B, L)


def chunks_of(tokens: int, vocab_size: int) -> int:
    """Number of equal chunks in which a device computes the logits of its tokens."""
    parts = max(1, -(-tokens * vocab_size * 4 // _LOGITS_BYTES))
    return next(n for n in range(min(parts, tokens), tokens + 1) if tokens % n == 0)
