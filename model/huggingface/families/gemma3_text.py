"""Gemma 3, text alone (arXiv:2503.19786)."""

from typing import Any

from lengthwise.model.huggingface.families.gemma2 import NORMS, read_gemma, write_gemma
from lengthwise.model.huggingface.family import FAMILIES, Family
from lengthwise.model.huggingface.fields import Fields
from lengthwise.model.huggingface.layers import rope_of, shortest_pattern, windowed
from lengthwise.model.huggingface.llama_like import llama_table, with_rope
from lengthwise.model.huggingface.rope import RotarySettings, read_rope, write_rope
from lengthwise.model.huggingface.table import Entry
from lengthwise.model.positions.rope_scaling import UNSCALED, RopeScaling
from lengthwise.model.spec import ModelSpec

_LOCAL, _GLOBAL = 10_000.0, 1_000_000.0  # bases of RoPE under a window and without one


@FAMILIES.register("gemma3_text")
class Gemma3Text(Family):
    """Gemma 2 with norms on queries and keys in place of soft caps, and two bases of RoPE."""

    architecture = "Gemma3ForCausalLM"

    def settings(self, fields: Fields) -> dict[str, Any]:
        fields.only("attn_logit_softcapping", None, None)  # which its attention doesn't read
        settings = read_gemma(fields, (0.0, 0.0)) | {"qk_norm": "head"}
        window, layers = fields.whole("sliding_window", 4096, null=None), settings["layers"]
        every = fields.whole("sliding_window_pattern", 6)
        types = fields.items("layer_types", layers) or [
            "sliding_attention" if (number + 1) % every else "full_attention"
            for number in range(layers)
        ]
        rope = read_rope(fields, _GLOBAL, layer_type="full_attention")
        local = _local(fields)
        if local.scaling != UNSCALED:
            raise fields.refuse("rope_parameters", "scales RoPE under a window: isn't served")
        unscaled = "" if rope.scaling == UNSCALED else ",scaled=False"
        entries = [
            windowed(f"rope:theta={local.theta!r}{unscaled}", window)
            if kind == "sliding_attention"
            else "rope"
            for kind in types
        ]
        return with_rope(settings, rope, shortest_pattern(entries))

    def config(self, model: ModelSpec, scaling: RopeScaling, positions: int) -> dict[str, Any]:
        full, sliding = rope_of(model, False), rope_of(model, True)
        full_theta = _GLOBAL if full is None else full.theta
        local_theta = _LOCAL if sliding is None else sliding.theta
        rope = write_rope(RotarySettings(full_theta, 1.0, scaling), positions)
        local = write_rope(RotarySettings(local_theta, 1.0, UNSCALED), positions)
        nested = {
            "full_attention": rope["rope_parameters"],
            "sliding_attention": local["rope_parameters"],
        }
        return {
            **write_gemma(model),
            **rope,
            "rope_local_base_freq": local_theta,
            "rope_parameters": nested,
        }

    def table(self, model: ModelSpec) -> list[Entry]:
        return llama_table(model, NORMS)


def _local(fields: Fields) -> RotarySettings:
    nested = fields.section("rope_parameters")
    if nested is not None and "sliding_attention" in nested.content:
        content = {"rope_parameters": nested.content["sliding_attention"]}
        return read_rope(Fields(content, fields.path), _LOCAL)
    return RotarySettings(fields.number("rope_local_base_freq", _LOCAL), 1.0, UNSCALED)
