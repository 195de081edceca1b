"""OLMo 2 (arXiv:2501.00656)."""

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

_NORMS = {
    "attention_post_norm": "post_attention_layernorm",
    "mlp_post_norm": "post_feedforward_layernorm",
}


@FAMILIES.register("olmo2")
class Olmo2(Family):
    """Norms after branches alone, and on all heads of queries and of keys at once."""

    architecture = "Olmo2ForCausalLM"

    def settings(self, fields: Fields) -> dict[str, Any]:
        settings = read_sizes(fields, epsilon=1e-5) | {"qk_norm": "full"}
        settings["block"] |= {
            "norm_placement": "post",
            "attention_bias": "all" if fields.flag("attention_bias", False) else "none",
        }
        return with_rope(settings, read_rope(fields, 10_000.0))

    def config(self, model: ModelSpec, scaling: RopeScaling, positions: int) -> dict[str, Any]:
        return {
            **write_sizes(model),
            **write_llama_rope(model, scaling, positions),
            "attention_bias": model.block.attention_bias == "all",
        }

    def table(self, model: ModelSpec) -> list[Entry]:
        return llama_table(model, _NORMS)
