"""Tiny models of the families of Hugging Face: configs and weights that both sides make."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

VOCABULARY = 37
LENGTH = 72  # beyond windows and original lengths
SHORT = 24  # within the latter
ORIGINAL, FACTOR = 32, 4.0
PROMPT, GENERATED = 8, 64
_PAIRS = 4  # of channels of a head

# H != K, head_dim != D / H, and sizes that no split confuses.
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
_GEMMA = _SIZES | {"num_hidden_layers": 3, "sliding_window": 9, "query_pre_attn_scalar": 12}
_BY_HEADS = {
    name: _SIZES[name] for name in _SIZES if name not in ("num_key_value_heads", "head_dim")
}
_BY_HEADS |= {"num_attention_heads": 3}


def _scaled(**parameters: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_theta": 1000.0, **parameters}}


# Name -> (model_type, fields of its config).
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", _SIZES | {"attention_bias": True, "mlp_bias": True}),
    "llama, llama3": (
        "llama",
        _SIZES
        | _scaled(
            rope_type="llama3",
            factor=FACTOR,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=ORIGINAL,
        ),
    ),
    "llama, linear": ("llama", _SIZES | _scaled(rope_type="linear", factor=FACTOR)),
    "llama, dynamic": (
        "llama",
        _SIZES
        | _scaled(rope_type="dynamic", factor=FACTOR)
        | {"max_position_embeddings": ORIGINAL},
    ),
    "llama, yarn": (
        "llama",
        _SIZES
        | _scaled(
            rope_type="yarn",
            factor=FACTOR,
            beta_fast=4.0,
            beta_slow=1.0,
            mscale=1.0,
            mscale_all_dim=0.5,
            original_max_position_embeddings=ORIGINAL,
        ),
    ),
    "mistral": ("mistral", _SIZES | {"sliding_window": 9, "tie_word_embeddings": True}),
    "qwen2": (
        "qwen2",
        _SIZES | {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1},
    ),
    "qwen3": ("qwen3", _SIZES),
    "smollm3": (
        "smollm3",
        _SIZES | {"num_hidden_layers": 3, "no_rope_layers": [1, 0, 1]},
    ),
    "gemma2": ("gemma2", _GEMMA | {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0}),
    "gemma3_text": (
        "gemma3_text",
        _GEMMA | {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    ),
    "gemma3_text, linear": (
        "gemma3_text",
        _GEMMA
        | {
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            },
        },
    ),
    "olmo2": ("olmo2", _SIZES | {"tie_word_embeddings": False}),
    "phi3": ("phi3", _SIZES | {"head_dim": 6, "sliding_window": 9}),
    "phi3, longrope": (
        "phi3",
        _SIZES
        | {"hidden_size": 32, "original_max_position_embeddings": ORIGINAL}
        | _scaled(
            rope_type="longrope",
            short_factor=[round(1 + 0.05 * i, 2) for i in range(_PAIRS)],
            long_factor=[round(1 + 0.4 * i, 2) for i in range(_PAIRS)],
            original_max_position_embeddings=ORIGINAL,
        ),
    ),
    "granite": (
        "granite",
        _SIZES
        | {
            "attention_multiplier": 0.2,
            "residual_multiplier": 0.7,
            "embedding_multiplier": 3.0,
            "logits_scaling": 1.6,
        },
    ),
    "gpt_neox": ("gpt_neox", _BY_HEADS | {"rotary_pct": 0.5}),
    "gpt_neox, sequential": ("gpt_neox", _BY_HEADS | {"use_parallel_residual": False}),
    "bloom": (
        "bloom",
        {
            "vocab_size": VOCABULARY,
            "hidden_size": 24,
            "n_layer": 2,
            "n_head": 3,
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": None,
        },
    ),
}
# A family of each kind of layer is generated from token by token.
DECODED = ("mistral", "smollm3", "gemma3_text", "olmo2", "gpt_neox", "bloom")


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The tensors of a model by name, float32; attention is far from even."""
    made = {}
    for name, shape in shapes.items():
        values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
        if len(shape) == 2:
            is_table = any(part in name for part in ("embed_tokens", "embed_in", "word_embeddings"))
            values *= 0.2 if is_table else 1.5 / shape[1] ** 0.5
        else:
            is_scale = name.endswith("weight")
            values = float(is_scale) + 0.1 * values
        made[name] = values.astype(np.float32)
    return made


def tokens(length: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, VOCABULARY, length)


def kept(logits_LV: np.ndarray) -> np.ndarray:
    """The rows that the figures hold: every eighth from the end."""
    return logits_LV[::-8]
