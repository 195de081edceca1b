"""Mistral (arXiv:2310.06825)."""

from typing import Any

from lengthwise.model.huggingface.family import FAMILIES, Family
from lengthwise.model.huggingface.fields import Fields
from lengthwise.model.huggingface.layers import one_window, windowed
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


@FAMILIES.register("mistral")
class Mistral(Family):
    """Llama without biases, with one window in all layers."""

    architecture = "MistralForCausalLM"

    def settings(self, fields: Fields) -> dict[str, Any]:
        window = fields.whole("sliding_window", 4096, null=None)
        settings = read_sizes(fields, kv_heads=8)
        pattern = (windowed("rope", window),) if window else ()
        return with_rope(settings, read_rope(fields, 10_000.0), pattern)

    def config(self, model: ModelSpec, scaling: RopeScaling, positions: int) -> dict[str, Any]:
        return {
            **write_sizes(model),
            **write_llama_rope(model, scaling, positions),
            "sliding_window": one_window(model),
        }

    def table(self, model: ModelSpec) -> list[Entry]:
        return llama_table(model)
