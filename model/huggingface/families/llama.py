"""Llama 2 and 3.x (arXiv:2307.09288, arXiv:2407.21783)."""

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


@FAMILIES.register("llama")
class Llama(Family):
    """Pre-norms, RoPE, SwiGLU."""

    architecture = "LlamaForCausalLM"

    def settings(self, fields: Fields) -> dict[str, Any]:
        settings = read_sizes(fields)
        settings["block"] |= {
            "attention_bias": "all" if fields.flag("attention_bias", False) else "none",
            "mlp_bias": fields.flag("mlp_bias", False),
        }
        return with_rope(settings, read_rope(fields, 10_000.0))

    def config(self, model: ModelSpec, scaling: RopeScaling, positions: int) -> dict[str, Any]:
        return {
            **write_sizes(model),
            **write_llama_rope(model, scaling, positions),
            "attention_bias": model.block.attention_bias == "all",
            "mlp_bias": model.block.mlp_bias,
        }

    def table(self, model: ModelSpec) -> list[Entry]:
        return llama_table(model)
