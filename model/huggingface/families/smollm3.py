"""SmolLM 3: RoPE in some layers, no positions in the others (as arXiv:2501.18795)."""

from typing import Any

from lengthwise.model.huggingface.family import FAMILIES, Family
from lengthwise.model.huggingface.fields import Fields
from lengthwise.model.huggingface.layers import (
    layer_types,
    layers_of,
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


@FAMILIES.register("smollm3")
class SmolLM3(Family):
    """Llama with a list of the layers that rotate; those that don't may have a window."""

    architecture = "SmolLM3ForCausalLM"

    def settings(self, fields: Fields) -> dict[str, Any]:
        settings = read_sizes(fields, kv_heads=4, tied=True)
        settings["block"] |= {
            "attention_bias": "all" if fields.flag("attention_bias", False) else "none",
            "mlp_bias": fields.flag("mlp_bias", False),
        }
        layers, every = settings["layers"], fields.whole("no_rope_layer_interval", 4)
        rotates = fields.items("no_rope_layers", layers) or [
            (number + 1) % every for number in range(layers)
        ]
        window = fields.whole("sliding_window", None)
        if not fields.flag("use_sliding_window", False):
            window = None
        types = fields.items("layer_types", layers) or [
            "full_attention" if each else "sliding_attention" for each in rotates
        ]
        entries = [
            windowed("rope" if each else "none", window if kind == "sliding_attention" else None)
            for each, kind in zip(rotates, types, strict=True)
        ]
        settings = with_rope(settings, read_rope(fields, 2e6), shortest_pattern(entries))
        if not any(rotates):
            settings["positions"]["scheme"] = "none"
        return settings

    def config(self, model: ModelSpec, scaling: RopeScaling, positions: int) -> dict[str, Any]:
        return {
            **write_sizes(model),
            **write_llama_rope(model, scaling, positions),
            "attention_bias": model.block.attention_bias == "all",
            "mlp_bias": model.block.mlp_bias,
            "no_rope_layers": [int(layer.rotates) for layer in layers_of(model)],
            "use_sliding_window": one_window(model) is not None,
            "sliding_window": one_window(model),
            "layer_types": layer_types(model),
        }

    def table(self, model: ModelSpec) -> list[Entry]:
        return llama_table(model)
