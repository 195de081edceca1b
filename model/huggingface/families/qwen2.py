"""Qwen 2 and 2.5 (arXiv:2407.10671, arXiv:2412.15115)."""

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


def read_windows(fields: Fields) -> tuple[str, ...]:
    """The layer pattern of a Qwen: the later layers may have a window."""
    layers = fields.whole("num_hidden_layers")
    window = fields.whole("sliding_window", 4096, null=None)
    if not fields.flag("use_sliding_window", False):
        window = None
    full = int(fields.number("max_window_layers", 28))
    types = fields.items("layer_types", layers) or [
        "sliding_attention" if number >= full else "full_attention" for number in range(layers)
    ]
    slides = [name == "sliding_attention" for name in types]
    return shortest_pattern([windowed("rope", window if each else None) for each in slides])


def write_windows(model: ModelSpec) -> dict[str, Any]:
    """The same in a config.json."""
    window, types = one_window(model), layer_types(model)
    return {
        "use_sliding_window": window is not None,
        "sliding_window": window,
        "max_window_layers": (*types, "sliding_attention").index("sliding_attention"),
        "layer_types": types,
    }


@FAMILIES.register("qwen2")
class Qwen2(Family):
    """Llama with biases on queries, keys and values."""

    architecture = "Qwen2ForCausalLM"

    def settings(self, fields: Fields) -> dict[str, Any]:
        settings = read_sizes(fields, kv_heads=32)
        settings["block"]["attention_bias"] = "qkv"
        return with_rope(settings, read_rope(fields, 10_000.0), read_windows(fields))

    def config(self, model: ModelSpec, scaling: RopeScaling, positions: int) -> dict[str, Any]:
        return {
            **write_sizes(model),
            **write_llama_rope(model, scaling, positions),
            **write_windows(model),
        }

    def table(self, model: ModelSpec) -> list[Entry]:
        return llama_table(model)
