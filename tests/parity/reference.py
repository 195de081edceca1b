"""Figures of `transformers`, written as JSON: `python -m tests.parity.reference FOLDER`.

Writes figures.json, of parts of models, and families.json, of whole ones.

Runs in the environment of requirements-parity.txt, which has neither jax nor this project's other
requirements.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import (
    BloomConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    T5Config,
)
from transformers.models.bloom.modeling_bloom import BloomAttention, build_alibi_tensor
from transformers.models.t5.modeling_t5 import T5Attention

from tests.parity import cases
from tests.parity.family_reference import every_family

SIZES = {
    "vocab_size": cases.VOCABULARY,
    "hidden_size": cases.WIDTH,
    "intermediate_size": cases.MLP,
    "num_hidden_layers": cases.LAYERS,
    "num_attention_heads": cases.HEADS,
    "num_key_value_heads": cases.KV_HEADS,
    "head_dim": cases.HEAD_DIM,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "attn_implementation": "eager",
}


def state_dict() -> dict[str, torch.Tensor]:
    """Our weights under the names of Llama and Mistral; linear layers are stored transposed."""
    ours = cases.weights()
    state = {
        "model.embed_tokens.weight": ours["embedding"],
        "model.norm.weight": ours["final_norm"]["scale"],
        "lm_head.weight": ours["unembedding"].T,
    }
    blocks = ours["blocks"]
    for n in range(cases.LAYERS):
        at = f"model.layers.{n}"
        state[f"{at}.input_layernorm.weight"] = blocks["attention_norm"]["scale"][n]
        state[f"{at}.post_attention_layernorm.weight"] = blocks["mlp_norm"]["scale"][n]
        for theirs, name in (("q", "query"), ("k", "key"), ("v", "value"), ("o", "output")):
            state[f"{at}.self_attn.{theirs}_proj.weight"] = blocks["attention"][name][n].T
        for name in ("gate", "up", "down"):
            state[f"{at}.mlp.{name}_proj.weight"] = blocks["mlp"][name][n].T
    return {name: torch.tensor(np.ascontiguousarray(value)) for name, value in state.items()}


def logits(model: Any, length: int, mask: torch.Tensor | None = None) -> np.ndarray:
    model.load_state_dict(state_dict())
    model.eval()
    inputs = torch.tensor(cases.tokens(length))[None]
    with torch.no_grad():
        return model(inputs, attention_mask=mask).logits[0].numpy()


def rope() -> dict[str, Any]:
    figures = {}
    for name, (_, parameters) in cases.ROPE.items():
        longest = cases.ORIGINAL if name in ("default", "dynamic") else 4 * cases.ORIGINAL
        config = LlamaConfig(
            **SIZES,
            max_position_embeddings=longest,
            rope_parameters={**parameters, "rope_theta": cases.THETA},
        )
        for length in cases.LENGTHS:
            model = LlamaForCausalLM(config)  # a new one: it remembers the longest length seen
            found = logits(model, length)
            figures[f"{name} {length}"] = {
                "frequencies": model.model.rotary_emb.inv_freq,
                "temperature": model.model.rotary_emb.attention_scaling,
                "logits": cases.kept(found),
            }
    return figures


def windows() -> dict[str, Any]:
    """Mistral's sliding window; sinks as an explicit mask on Llama."""
    length = cases.LENGTHS[-1]
    rope_parameters = {"rope_type": "default", "rope_theta": cases.THETA}
    mistral = MistralConfig(**SIZES, sliding_window=cases.WINDOW, rope_parameters=rope_parameters)
    visible = torch.zeros(length, length, dtype=torch.bool)
    for i in range(length):
        visible[i, max(0, i - cases.WINDOW + 1) : i + 1] = True
        visible[i, : min(cases.SINKS, i + 1)] = True
    mask = torch.where(visible, 0.0, torch.finfo(torch.float32).min)[None, None]
    llama = LlamaForCausalLM(LlamaConfig(**SIZES, rope_parameters=rope_parameters))
    return {
        "window": cases.kept(logits(MistralForCausalLM(mistral), length)),
        "window and sinks": cases.kept(logits(llama, length, mask)),
    }


def causal(length: int) -> torch.Tensor:
    return torch.triu(torch.ones(length, length, dtype=torch.bool), 1)


def alibi(heads: int) -> np.ndarray:
    """Bloom's attention, its projections made the identity, over concatenated q, k, v."""
    width = heads * cases.BIAS_HEAD_DIM
    attention = BloomAttention(BloomConfig(hidden_size=width, n_head=heads), layer_idx=0).eval()
    q, k, v = cases.heads_inputs(heads)
    fused = torch.tensor(np.stack((q, k, v), axis=2)).reshape(1, cases.BIAS_LENGTH, 3 * width)
    attention.query_key_value = torch.nn.Identity()
    attention.dense = torch.nn.Identity()
    slopes = build_alibi_tensor(torch.ones(1, cases.BIAS_LENGTH), heads, torch.float32)
    mask = torch.where(causal(cases.BIAS_LENGTH), torch.finfo(torch.float32).min, 0.0)[None, None]
    # The shape of the hidden states gives batch and length alone.
    with torch.no_grad():
        out = attention(fused, torch.zeros(1, cases.BIAS_LENGTH, width), slopes, mask)[0]
    return cases.kept(out[0].numpy())


def t5(heads: int) -> np.ndarray:
    width = heads * cases.BIAS_HEAD_DIM
    config = T5Config(
        d_model=width,
        d_kv=cases.BIAS_HEAD_DIM,
        num_heads=heads,
        relative_attention_num_buckets=cases.BUCKETS,
        relative_attention_max_distance=cases.MAX_DISTANCE,
        is_decoder=True,
        dropout_rate=0.0,
    )
    attention = T5Attention(config, has_relative_attention_bias=True, layer_idx=0).eval()
    attention.relative_attention_bias.weight.data = torch.tensor(cases.bucket_biases(heads))
    with torch.no_grad():
        bias = attention.compute_bias(cases.BIAS_LENGTH, cases.BIAS_LENGTH)[0]
    q, k, v = (torch.tensor(x).transpose(0, 1) for x in cases.heads_inputs(heads))
    scores = q @ k.transpose(1, 2) / cases.BIAS_HEAD_DIM**0.5 + bias
    scores = scores.masked_fill(causal(cases.BIAS_LENGTH), -torch.inf)
    out = (torch.softmax(scores, -1) @ v).transpose(0, 1).reshape(cases.BIAS_LENGTH, -1)
    return cases.kept(out.numpy())


def buckets() -> dict[str, torch.Tensor]:
    return {
        name: T5Attention._relative_position_bucket(-torch.arange(distances), False, number, most)
        for name, (number, most, distances) in cases.BUCKET_TABLES.items()
    }


def plain(value: Any) -> Any:
    """As JSON, with the nine digits that a float32 needs."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, torch.Tensor | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def main(folder: Path) -> None:
    figures = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "rope": rope(),
        "masks": windows(),
        "alibi": {str(heads): alibi(heads) for heads in cases.BIAS_HEADS},
        "t5 buckets": buckets(),
        "t5": {str(heads): t5(heads) for heads in cases.BIAS_HEADS},
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("figures", figures), ("families", every_family())):
        text = json.dumps(plain(content)).replace("], ", "],\n")
        (folder / f"{name}.json").write_text(f"{text}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
