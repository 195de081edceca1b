"""Gemma 2 (arXiv:2408.00118)."""

import math
from typing import Any

from lengthwise.model.huggingface.family import FAMILIES, Family
from lengthwise.model.huggingface.fields import Fields
from lengthwise.model.huggingface.layers import (
    layer_types,
    one_window,
    shortest_pattern,
    windowed,
)
from lengthwise.model.huggingface.llama_like import (
    llama_table,
    read_sizes,
    with_rope,
    write_llama_rope,
    write_sizes,
)
from lengthwise.model.huggingface.rope import read_rope
from lengthwise.model.huggingface.table import Entry
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.model.spec import ModelSpec

# Four norms a block. Llama's name of the norm before the MLP is here that after attention.
NORMS = {
    "attention_norm": "input_layernorm",
    "attention_post_norm": "post_attention_layernorm",
    "mlp_norm": "pre_feedforward_layernorm",
    "mlp_post_norm": "post_feedforward_layernorm",
}


def read_gemma(fields: Fields, caps: tuple[float, float]) -> dict[str, Any]:
    """What the generations share. caps: of scores and of logits, where the file has none."""
    if fields.flag("use_bidirectional_attention", False):
        raise fields.refuse("use_bidirectional_attention", "isn't served: decoders alone are")
    settings = read_sizes(
        fields,
        kv_heads=4,
        head_dim=256,
        tied=True,
        activation="hidden_activation",
        default_activation="gelu_pytorch_tanh",
    )
    settings["block"] |= {
        "norm_offset": 1.0,
        "norm_placement": "both",
        "attention_bias": "all" if fields.flag("attention_bias", False) else "none",
        "attention_scale": fields.positive("query_pre_attn_scalar", 256.0) ** -0.5,
    }
    return settings | {
        "embedding_scale": math.sqrt(settings["embed_dim"]),
        "attention_softcap": _cap(fields, "attn_logit_softcapping", caps[0]),
        "logit_softcap": _cap(fields, "final_logit_softcapping", caps[1]),
    }


def _cap(fields: Fields, name: str, absent: float) -> float:
    """0 where there is none: null, unlike a field that is absent."""
    return 0.0 if fields.content.get(name, absent) is None else fields.number(name, absent)


def write_gemma(model: ModelSpec) -> dict[str, Any]:
    """The same in a config.json."""
    scale = model.block.attention_scale or model.head_dim**-0.5
    return {
        **write_sizes(model, "hidden_activation"),
        "attention_bias": model.block.attention_bias == "all",
        "query_pre_attn_scalar": round(scale**-2),
        "attn_logit_softcapping": model.attention_softcap or None,
        "final_logit_softcapping": model.logit_softcap or None,
        "sliding_window": one_window(model),
        "layer_types": layer_types(model),
    }


@FAMILIES.register("gemma2")
class Gemma2(Family):
    """Norms before and after branches, soft caps, a window in every second layer."""

    architecture = "Gemma2ForCausalLM"

    def settings(self, fields: Fields) -> dict[str, Any]:
        settings = read_gemma(fields, (50.0, 30.0))
        window, layers = fields.whole("sliding_window", 4096, null=None), settings["layers"]
        types = fields.items("layer_types", layers) or [
            "full_attention" if number % 2 else "sliding_attention" for number in range(layers)
        ]
        slides = [kind == "sliding_attention" for kind in types]
        pattern = shortest_pattern([windowed("rope", window if each else None) for each in slides])
        return with_rope(settings, read_rope(fields, 10_000.0), pattern)

    def config(self, model: ModelSpec, scaling: RopeScaling, positions: int) -> dict[str, Any]:
        return {**write_gemma(model), **write_llama_rope(model, scaling, positions)}

    def table(self, model: ModelSpec) -> list[Entry]:
        return llama_table(model, NORMS)
