"""Phi 3 and 4-mini (arXiv:2404.14219, arXiv:2503.01743)."""

from typing import Any

import numpy as np

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
from lengthwise.model.huggingface.table import Entry, matrix
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.model.spec import ModelSpec


@FAMILIES.register("phi3")
class Phi3(Family):
    """Llama with fused matrices: queries, keys, values, one after the other; gate, then up."""

    architecture = "Phi3ForCausalLM"

    def settings(self, fields: Fields) -> dict[str, Any]:
        window = fields.whole("sliding_window", None)
        settings = read_sizes(fields, epsilon=1e-5)
        pattern = (windowed("rope", window),) if window else ()
        return with_rope(settings, read_rope(fields, 10_000.0), pattern)

    def config(self, model: ModelSpec, scaling: RopeScaling, positions: int) -> dict[str, Any]:
        rope = write_llama_rope(model, scaling, positions)
        # This family has it outside of the scaling.
        known = scaling.original_length or rope["max_position_embeddings"]
        return {
            **write_sizes(model),
            **rope,
            "original_max_position_embeddings": known,
            "sliding_window": one_window(model),
        }

    def table(self, model: ModelSpec) -> list[Entry]:
        attention, mlp = "model.layers.{}.self_attn", "model.layers.{}.mlp"
        q_dim, kv_dim = model.num_heads * model.head_dim, model.num_kv_heads * model.head_dim
        sizes = {"query": q_dim, "key": kv_dim, "value": kv_dim}
        entries, start = llama_table(model, fused=True), 0
        for name, size in sizes.items():
            rows = np.arange(start, start + size)
            entries.append(matrix(f"blocks.attention.{name}", f"{attention}.qkv_proj.weight", rows))
            start += size
        entries.append(matrix("blocks.attention.output", f"{attention}.o_proj.weight"))
        for number, name in enumerate(("gate", "up")):
            rows = np.arange(number * model.mlp_dim, (number + 1) * model.mlp_dim)
            entries.append(matrix(f"blocks.mlp.{name}", f"{mlp}.gate_up_proj.weight", rows))
        entries.append(matrix("blocks.mlp.down", f"{mlp}.down_proj.weight"))
        return entries
