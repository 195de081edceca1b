"""Autoregressive decoding of rows over a KV cache: greedy or sampled."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from lengthwise.model.attention.masks import Mask
from lengthwise.model.cache import KVCache
from lengthwise.model.spec import ModelSpec
from lengthwise.model.token_losses import project
from lengthwise.model.transformer import Params, Tables, extend


@dataclass(frozen=True)
class Sampling:
    """Sampling of the next token from the logits. Hashable: a static argument."""

    temperature: float  # logits are divided by it; 0: greedy, whatever the rest says
    top_k: int  # number of likeliest tokens to sample from; 0: all
    top_p: float  # sample from the fewest likeliest tokens with this probability together; 1: all
    min_p: float = 0.0  # sample from tokens of at least this share of the likeliest's probability
    # logits of tokens that the row has are divided by it where positive, else multiplied; 1: as
    # they are
    repetition_penalty: float = 1.0


def choose(logits_BV: jax.Array, keys_B: jax.Array, sampling: Sampling) -> jax.Array:
    """Samples the next token of each row, int32 [B].

    top_p counts the probabilities of what temperature and top_k leave, as is usual (Holtzman et
    al., arXiv:1904.09751), and min_p too (Nguyen et al., arXiv:2407.01082). keys: a random key a
    row.
    """
    if sampling.temperature == 0:
        return jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)
    vocab_size = logits_BV.shape[-1]
    count = min(sampling.top_k or vocab_size, vocab_size)
    values_BN, tokens_BN = jax.lax.top_k(logits_BV / sampling.temperature, count)
    probabilities_BN = jax.nn.softmax(values_BN, axis=-1)
    before_BN = jnp.cumsum(probabilities_BN, axis=-1) - probabilities_BN
    # The first always stays, though rounding may leave nothing before it.
    dropped_BN = (before_BN >= sampling.top_p) & (jnp.arange(count) > 0)[None]
    dropped_BN |= probabilities_BN < sampling.min_p * probabilities_BN[:, :1]
    values_BN = jnp.where(dropped_BN, -jnp.inf, values_BN)
    chosen_B = jax.vmap(jax.random.categorical)(keys_B, values_BN)
    return jnp.take_along_axis(tokens_BN, chosen_B[:, None], axis=-1)[:, 0].astype(jnp.int32)


def penalized(logits_BV: jax.Array, seen_BV: jax.Array, penalty: float) -> jax.Array:
    """Logits after the repetition penalty of Keskar et al. (arXiv:1909.05858).

    seen: bool [B, V], tokens that the row has.
    """
    return jnp.where(
        seen_BV, jnp.where(logits_BV > 0, logits_BV / penalty, logits_BV * penalty), logits_BV
    )


def decode(
    config: ModelSpec,
    params: Params,
    cache: KVCache,
    last_B: jax.Array,
    length_B: jax.Array,
    row_B: jax.Array,
    seed: jax.Array,
    tables: Tables,
    drawn: jax.Array | int = 0,
    seen_BV: jax.Array | None = None,
    *,
    mask: Mask,
    sampling: Sampling,
    max_tokens: int,
    end_of_text: int,
) -> tuple[jax.Array, KVCache]:
    """Generates up to `max_tokens` a row: int32 [B, max_tokens], end_of_text after a row's end.

    Returns the cache too, so that a donated one is updated in place. Rows may have different
    lengths; the loop ends with the last of them. The n-th token of a row is sampled with the key
    fold_in(fold_in(seed, row), n), so that it is the same in any batch.

    Args:
      cache: filled with the tokens of each row but its last; its capacity is at least the longest
        row + max_tokens.
      last_B: int32, the last token of each row.
      length_B: int32, tokens of each row, the last included.
      row_B: int32, the number of each row.
      drawn: int32, tokens that an earlier call generated, and `last_B`, `length_B` count in.
      seen_BV: bool, tokens that each row has; where there is a repetition penalty.
    """
    batch = last_B.shape[0]
    keys_B = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), row_B)

    penalty = sampling.repetition_penalty
    if penalty == 1:
        seen_BV = None

    def unfinished(state: tuple) -> jax.Array:
        step, _, _, _, ended_B, _ = state
        return (step < max_tokens) & ~ended_B.all()

    def one_token(state: tuple) -> tuple:
        step, cache, token_B, seen_BV, ended_B, generated_BN = state
        first_B = length_B - 1 + step
        x_B1D, (weight, vocab_axis), cache = extend(
            config, params, token_B[:, None], cache, first_B, tables=tables, mask=mask
        )
        logits_BV = project(x_B1D[:, 0], weight, vocab_axis, config.logit_softcap)
        if config.embedding_rows > config.vocab_size:
            has_token_V = jnp.arange(config.embedding_rows) < config.vocab_size
            logits_BV = jnp.where(has_token_V, logits_BV, -jnp.inf)
        if seen_BV is not None:
            seen_here_BV = jnp.pad(seen_BV, ((0, 0), (0, logits_BV.shape[-1] - seen_BV.shape[-1])))
            logits_BV = penalized(logits_BV, seen_here_BV, penalty)
        step_keys_B = jax.vmap(jax.random.fold_in, (0, None))(keys_B, drawn + step)
        token_B = jnp.where(ended_B, end_of_text, choose(logits_BV, step_keys_B, sampling))
        if seen_BV is not None:
            seen_BV = seen_BV.at[jnp.arange(batch), token_B].set(True)
        generated_BN = jax.lax.dynamic_update_slice(generated_BN, token_B[:, None], (0, step))
        ended_B |= token_B == end_of_text
        return step + 1, cache, token_B, seen_BV, ended_B, generated_BN

    generated_BN = jnp.full((batch, max_tokens), end_of_text, jnp.int32)
    start = (jnp.int32(0), cache, last_B, seen_BV, jnp.zeros(batch, bool), generated_BN)
    _, cache, _, _, _, generated_BN = jax.lax.while_loop(unfinished, one_token, start)
    return generated_BN, cache
