"""Qwen 3, dense (arXiv:2505.09388)."""

from typing import Any

from lengthwise.model.huggingface.families.qwen2 import read_windows, write_windows
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


@FAMILIES.register("qwen3")
class Qwen3(Family):
    """Llama with norms on queries and keys."""

    architecture = "Qwen3ForCausalLM"

    def settings(self, fields: Fields) -> dict[str, Any]:
        settings = read_sizes(fields, kv_heads=32, head_dim=128) | {"qk_norm": "head"}
        biased = fields.flag("attention_bias", False)
        settings["block"]["attention_bias"] = "all" if biased else "none"
        return with_rope(settings, read_rope(fields, 10_000.0), read_windows(fields))

    def config(self, model: ModelSpec, scaling: RopeScaling, positions: int) -> dict[str, Any]:
        return {
            **write_sizes(model),
            **write_llama_rope(model, scaling, positions),
            **write_windows(model),
            "attention_bias": model.block.attention_bias == "all",
        }

    def table(self, model: ModelSpec) -> list[Entry]:
        return llama_table(model)
