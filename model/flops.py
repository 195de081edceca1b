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
    D = config.embed_dim
    norm = D * (2 if config.block.norm == "layer" else 1)
    norms = {"pre": 2, "post": 2, "both": 4}[config.block.norm_placement]
    block = matmul_parameters(config) + _biases(config) + norms * norm
    q_dim, kv_dim = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    block += {"none": 0, "head": 2 * config.head_dim, "full": q_dim + kv_dim}[config.qk_norm]
    if config.smeared_keys:
        block += config.num_kv_heads
    embeddings = config.embedding_rows * D * (1 if config.tie_embeddings else 2)
    if config.embedding_norm:
        embeddings += norm
    positions = sum(
        scheme.parameter_count(config.dims) * (layers if config.learns_per_layer(scheme) else 1)
        for scheme, layers in _schemes(config)
    )
    return config.layers * block + embeddings + norm + positions


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
    block = matmul_parameters(config)
    matmuls = 2 * length * (config.layers * block + config.embed_dim * config.embedding_rows)
    total = matmuls
    if config.input_scheme is not None:
        total += config.input_scheme.token_flops(config.dims) * length
    for place, layer_mask in enumerate(config.layer_masks(mask)):
        pairs = visible_pairs(layer_mask, length)
        scheme = config.layer_schemes[place]
        attention = 4 * config.num_heads * config.head_dim * pairs
        positions = (
            scheme.token_flops(config.dims) * length + scheme.pair_flops(config.dims) * pairs
        )
        total += config.layers_at(place) * (attention + positions)
    return batch * total


def train_step_flops(config: ModelSpec, length: int, batch: int, mask: Mask) -> int:
    """Model FLOPs of a forward and backward pass; the optimizer is not counted."""
    return 3 * forward_flops(config, length, batch, mask)


def _schemes(config: ModelSpec) -> list[tuple[Scheme, int]]:
    """(position scheme, number of its uses: 1 at the input, else layers that have it)."""
    at_input = () if config.input_scheme is None else (config.input_scheme,)
    in_layers = dict.fromkeys(config.layer_schemes)
    return [*((s, 1) for s in at_input), *((s, config.scheme_layers(s)) for s in in_layers)]


def matmul_parameters(config: ModelSpec) -> int:
    """Learned numbers of a block's matrices."""
    D, C, F = config.embed_dim, config.head_dim, config.mlp_dim
    projections = D * C * (2 * config.num_heads + 2 * config.num_kv_heads)
    return projections + (3 if config.block.mlp == "gated" else 2) * D * F


def _biases(config: ModelSpec) -> int:
    """Learned numbers of a block's biases."""
    qkv = config.head_dim * (config.num_heads + 2 * config.num_kv_heads)
    attention = {"none": 0, "qkv": qkv, "all": qkv + config.embed_dim}
    mlp = config.embed_dim + (2 if config.block.mlp == "gated" else 1) * config.mlp_dim
    return attention[config.block.attention_bias] + (mlp if config.block.mlp_bias else 0)
