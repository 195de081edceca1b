"""Granite 3, dense (IBM, 2024)."""

from typing import Any

from lengthwise.model.huggingface.family import FAMILIES, Family
from lengthwise.model.huggingface.fields import Fields
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


@FAMILIES.register("granite")
class Granite(Family):
    """Llama with factors on embeddings, scores, branches and logits."""

    architecture = "GraniteForCausalLM"

    def settings(self, fields: Fields) -> dict[str, Any]:
        settings = read_sizes(fields)
        settings["block"] |= {
            "attention_bias": "all" if fields.flag("attention_bias", False) else "none",
            "mlp_bias": fields.flag("mlp_bias", False),
            "attention_scale": fields.number("attention_multiplier", 1.0),
            "residual_scale": fields.number("residual_multiplier", 1.0),
        }
        settings |= {
            "embedding_scale": fields.number("embedding_multiplier", 1.0),
            "logit_scale": 1 / fields.positive("logits_scaling", 1.0),
        }
        return with_rope(settings, read_rope(fields, 10_000.0))

    def config(self, model: ModelSpec, scaling: RopeScaling, positions: int) -> dict[str, Any]:
        return {
            **write_sizes(model),
            **write_llama_rope(model, scaling, positions),
            "attention_bias": model.block.attention_bias == "all",
            "mlp_bias": model.block.mlp_bias,
            "attention_multiplier": model.block.attention_scale or model.head_dim**-0.5,
            "residual_multiplier": model.block.residual_scale,
            "embedding_multiplier": model.embedding_scale,
            "logits_scaling": 1 / model.logit_scale,
        }

    def table(self, model: ModelSpec) -> list[Entry]:
        return llama_table(model)
