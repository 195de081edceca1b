"""GPT-NeoX and Pythia (arXiv:2204.06745, arXiv:2304.01373)."""

from typing import Any

from lengthwise.model.huggingface.family import FAMILIES, Family
from lengthwise.model.huggingface.fields import ACTIVATIONS, Fields
from lengthwise.model.huggingface.llama_like import with_rope, write_llama_rope
from lengthwise.model.huggingface.rope import read_rope
from lengthwise.model.huggingface.table import Entry, head_major, matrix
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.model.spec import ModelSpec


def biased_table(
    model: ModelSpec, at: str, attention: str, norms: dict[str, str], outside: list[Entry]
) -> list[Entry]:
    """The table of a decoder of LayerNorms, a fused matrix by heads, and a plain MLP.

    Args:
      at: prefix of the tensors of a layer.
      attention: their name of it.
      norms: ours -> theirs, of a block.
      outside: entries that are in no layer.
    """
    entries = list(outside)
    for ours, theirs in norms.items():
        entries.append(Entry(f"blocks.{ours}.scale", f"{at}.{theirs}.weight"))
        entries.append(Entry(f"blocks.{ours}.bias", f"{at}.{theirs}.bias"))
    for number, name in enumerate(("query", "key", "value")):
        rows, fused = head_major(model.num_heads, model.head_dim, number), "query_key_value"
        entries.append(matrix(f"blocks.attention.{name}", f"{at}.{attention}.{fused}.weight", rows))
        if model.block.attention_bias == "all":
            bias = f"blocks.attention.{name}_bias"
            entries.append(Entry(bias, f"{at}.{attention}.{fused}.bias", rows))
    entries.append(matrix("blocks.attention.output", f"{at}.{attention}.dense.weight"))
    if model.block.attention_bias == "all":
        entries.append(Entry("blocks.attention.output_bias", f"{at}.{attention}.dense.bias"))
    for name, theirs in (("up", "dense_h_to_4h"), ("down", "dense_4h_to_h")):
        entries.append(matrix(f"blocks.mlp.{name}", f"{at}.mlp.{theirs}.weight"))
        entries.append(Entry(f"blocks.mlp.{name}_bias", f"{at}.mlp.{theirs}.bias"))
    return entries


@FAMILIES.register("gpt_neox")
class GPTNeoX(Family):
    """LayerNorms, biases, a plain MLP beside attention, RoPE on a share of a head's channels."""

    architecture = "GPTNeoXForCausalLM"
    dropped = ("*.rotary_emb.inv_freq", "*.attention.bias", "*.attention.masked_bias")
    begins = False  # its class in transformers throws the template of its tokenizer away

    def settings(self, fields: Fields) -> dict[str, Any]:
        heads, width = fields.whole("num_attention_heads"), fields.whole("hidden_size")
        settings: dict[str, Any] = {
            "layers": fields.whole("num_hidden_layers"),
            "embed_dim": width,
            "num_heads": heads,
            "num_kv_heads": heads,
            "head_dim": width // heads,
            "mlp_dim": fields.whole("intermediate_size", 24576),
            "vocab_rows": fields.whole("vocab_size"),
            "tie_embeddings": fields.flag("tie_word_embeddings", False),
            "qk_norm": "none",
            "block": {
                "norm": "layer",
                "norm_epsilon": fields.number("layer_norm_eps", 1e-5),
                "parallel": fields.flag("use_parallel_residual", True),
                "attention_bias": "all" if fields.flag("attention_bias", True) else "none",
                "mlp": "plain",
                "mlp_bias": True,
                "activation": fields.activation("hidden_act", "gelu"),
            },
        }
        share, base = fields.number("rotary_pct", 0.25), fields.number("rotary_emb_base", 10_000.0)
        rope = read_rope(fields, base, share)
        if int(settings["head_dim"] * rope.share) % 2:
            raise fields.refuse("rotary_pct", "turns an odd number of channels of a head")
        return with_rope(settings, rope)

    def config(self, model: ModelSpec, scaling: RopeScaling, positions: int) -> dict[str, Any]:
        rope = write_llama_rope(model, scaling, positions)
        parameters = rope["rope_parameters"]
        names = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
        share = parameters.get("partial_rotary_factor", 1.0)
        return {
            **rope,
            "rope_parameters": {**parameters, "partial_rotary_factor": share},
            "rotary_pct": share,
            "rotary_emb_base": parameters["rope_theta"],
            "hidden_size": model.embed_dim,
            "intermediate_size": model.mlp_dim,
            "num_hidden_layers": model.layers,
            "num_attention_heads": model.num_heads,
            "vocab_size": model.embedding_rows,
            "tie_word_embeddings": model.tie_embeddings,
            "layer_norm_eps": model.block.norm_epsilon,
            "use_parallel_residual": model.block.parallel,
            "attention_bias": model.block.attention_bias == "all",
            "hidden_act": names[model.block.activation],
        }

    def table(self, model: ModelSpec) -> list[Entry]:
        outside = [
            Entry("embedding", "gpt_neox.embed_in.weight"),
            Entry("final_norm.scale", "gpt_neox.final_layer_norm.weight"),
            Entry("final_norm.bias", "gpt_neox.final_layer_norm.bias"),
        ]
        if not model.tie_embeddings:
            outside.append(matrix("unembedding", "embed_out.weight"))
        norms = {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}
        return biased_table(model, "gpt_neox.layers.{}", "attention", norms, outside)
