"""Analytic cost of a decoder: parameters and model FLOPs.

Counted by hand since XLA's own count takes a scan's body once and a kernel as nothing. A matmul of
[m, k] by [k, n] is 2mnk FLOPs, the backward pass twice the forward. Attention counts only pairs
that the mask lets see each other, whatever the backend computes. Not counted are norms, softmax,
rotation, recomputation, and what is made of positions alone, once for all rows (the convention of
PaLM, arXiv:2204.02311, appendix B, with its attention term cut to the visible pairs).
"""

import numpy as np

from lengthwise.model.attention.masks import Mask
from lengthwise.model.positions.scheme import Scheme
from lengthwise.model.spec import ModelSpec


def parameter_count(config: ModelSpec) -> int:
    """Number of parameters of `transformer.init_params(config, seed)`."""
    D, C, F = config.embed_dim, config.head_dim, config.mlp_dim
    block = _matmul_parameters(D, C, F, config.num_heads, config.num_kv_heads) + 2 * D
    if config.qk_norm:
        block += 2 * C
    if config.smeared_keys:
        block += config.num_kv_heads
    embeddings = config.vocab_size * D * (1 if config.tie_embeddings else 2)
    positions = sum(
        scheme.parameter_count(config.dims) * (layers if config.learns_per_layer(scheme) else 1)
        for scheme, layers in _schemes(config)
    )
    return config.layers * block + embeddings + D + positions


def visible_pairs(mask: Mask, length: int) -> int:
    """Number of visible (query, key) pairs of one row that is a single segment."""
    query = np.arange(length)
    before = np.maximum(mask.first_key(query), 0)  # keys before the near ones: only sinks are seen
    seen = query + 1 - before + np.minimum(before, mask.sinks)
    seen[: mask.prefix] = min(mask.prefix, length)
    return int(seen.sum())


def forward_flops(config: ModelSpec, length: int, batch: int, mask: Mask) -> int:
    """Model FLOPs of one forward pass over `batch` rows of `length` tokens, logits included.

    Rows count as single segments: with a document mask the true number is smaller.
    """
    D, C, F = config.embed_dim, config.head_dim, config.mlp_dim
    block = _matmul_parameters(D, C, F, config.num_heads, config.num_kv_heads)
    matmuls = 2 * length * (config.layers * block + D * config.vocab_size)
    pairs = visible_pairs(mask, length)
    attention = 4 * config.layers * config.num_heads * C * pairs
    positions = sum(
        layers * (scheme.token_flops(config.dims) * length + scheme.pair_flops(config.dims) * pairs)
        for scheme, layers in _schemes(config)
    )
    return batch * (matmuls + attention + positions)


def train_step_flops(config: ModelSpec, length: int, batch: int, mask: Mask) -> int:
    """Model FLOPs of a forward and backward pass; the optimizer is not counted."""
    return 3 * forward_flops(config, length, batch, mask)


def _schemes(config: ModelSpec) -> list[tuple[Scheme, int]]:
    """(position scheme, number of its uses: 1 at the input, else layers that have it)."""
    at_input = () if config.input_scheme is None else (config.input_scheme,)
    in_layers = dict.fromkeys(config.layer_schemes)
    return [*((s, 1) for s in at_input), *((s, config.scheme_layers(s)) for s in in_layers)]


def _matmul_parameters(D: int, C: int, F: int, H: int, K: int) -> int:
    return D * C * (2 * H + 2 * K) + 3 * D * F
