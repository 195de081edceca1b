"""What both sides compute: sizes, weights and inputs, from numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np

VOCABULARY, LAYERS, WIDTH, HEADS, KV_HEADS, HEAD_DIM, MLP = 11, 2, 24, 4, 2, 16, 32
THETA = 1000.0
ORIGINAL = 32  # the length before scaling
LENGTHS = (24, 32, 72)  # below, at and beyond it
WINDOW, SINKS = 9, 3
SCALE = 4.0

_SHORT = [round(1 + 0.05 * i, 2) for i in range(HEAD_DIM // 2)]
_LONG = [round(1 + 0.4 * i, 2) for i in range(HEAD_DIM // 2)]
# Name -> fields of our RopeScaling, and the same as transformers' `rope_parameters`.
ROPE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "default": ({"kind": "none"}, {"rope_type": "default"}),
    "linear": ({"kind": "linear", "factor": SCALE}, {"rope_type": "linear", "factor": SCALE}),
    "dynamic": (
        {"kind": "dynamic", "factor": SCALE, "original_length": ORIGINAL},
        {"rope_type": "dynamic", "factor": SCALE},
    ),
    "yarn": (
        {"kind": "yarn", "factor": SCALE, "original_length": ORIGINAL, "high_turns": 4.0},
        {
            "rope_type": "yarn",
            "factor": SCALE,
            "beta_fast": 4.0,
            "beta_slow": 1.0,
            "original_max_position_embeddings": ORIGINAL,
        },
    ),
    "yarn, mscale": (
        {
            "kind": "yarn",
            "factor": SCALE,
            "original_length": ORIGINAL,
            "high_turns": 4.0,
            "truncate": False,
            "mscale": 0.707,
            "mscale_all_dim": 0.5,
        },
        {
            "rope_type": "yarn",
            "factor": SCALE,
            "beta_fast": 4.0,
            "beta_slow": 1.0,
            "truncate": False,
            "mscale": 0.707,
            "mscale_all_dim": 0.5,
            "original_max_position_embeddings": ORIGINAL,
        },
    ),
    "yarn, attention factor": (
        {
            "kind": "yarn",
            "factor": SCALE,
            "original_length": ORIGINAL,
            "attention_factor": 0.8,
        },
        {
            "rope_type": "yarn",
            "factor": SCALE,
            "attention_factor": 0.8,
            "original_max_position_embeddings": ORIGINAL,
        },
    ),
    "llama3": (
        {"kind": "llama3", "factor": SCALE, "original_length": ORIGINAL},
        {
            "rope_type": "llama3",
            "factor": SCALE,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": ORIGINAL,
        },
    ),
    "longrope": (
        {
            "kind": "longrope",
            "factor": SCALE,
            "original_length": ORIGINAL,
            "short_factors": tuple(_SHORT),
            "long_factors": tuple(_LONG),
        },
        {
            "rope_type": "longrope",
            "factor": SCALE,
            "short_factor": _SHORT,
            "long_factor": _LONG,
            "original_max_position_embeddings": ORIGINAL,
        },
    ),
}

BIAS_HEADS = (4, 6)  # ALiBi's slopes differ where the number of heads is no power of two
BUCKETS, MAX_DISTANCE = 8, 20  # T5's relative buckets
BUCKET_TABLES = {"8 to 20": (8, 20, 60), "32 to 128": (32, 128, 200)}  # and distances; T5's own
BIAS_LENGTH, BIAS_HEAD_DIM = 40, 4


def weights() -> dict[str, Any]:
    """A decoder's parameters, named as ours are; large enough that attention is far from even."""
    rng = np.random.default_rng(0)

    def normal(*shape: int, std: float) -> np.ndarray:
        return (std * rng.standard_normal(shape)).astype(np.float32)

    q_dim, kv_dim = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    return {
        "embedding": normal(VOCABULARY, WIDTH, std=1.0),
        "blocks": {
            "attention_norm": {"scale": 1 + normal(LAYERS, WIDTH, std=0.1)},
            "attention": {
                "query": normal(LAYERS, WIDTH, q_dim, std=0.3),
                "key": normal(LAYERS, WIDTH, kv_dim, std=0.3),
                "value": normal(LAYERS, WIDTH, kv_dim, std=0.2),
                "output": normal(LAYERS, q_dim, WIDTH, std=0.2),
            },
            "mlp_norm": {"scale": 1 + normal(LAYERS, WIDTH, std=0.1)},
            "mlp": {
                "gate": normal(LAYERS, WIDTH, MLP, std=0.2),
                "up": normal(LAYERS, WIDTH, MLP, std=0.2),
                "down": normal(LAYERS, MLP, WIDTH, std=0.2),
            },
        },
        "final_norm": {"scale": 1 + normal(WIDTH, std=0.1)},
        "unembedding": normal(WIDTH, VOCABULARY, std=0.2),
    }


def tokens(length: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, VOCABULARY, length)


def heads_inputs(heads: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Queries, keys and values of one attention, float32 [L, H, C]."""
    shape = (3, BIAS_LENGTH, heads, BIAS_HEAD_DIM)
    q, k, v = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    return q, k, v


def bucket_biases(heads: int) -> np.ndarray:
    """T5's learned biases, float32 [buckets, H]."""
    return np.random.default_rng(3).standard_normal((BUCKETS, heads)).astype(np.float32)


def kept(logits_LV: np.ndarray) -> np.ndarray:
    """The rows that the figures hold: every eighth from the end, each of which saw all before."""
    return logits_LV[::-8]
