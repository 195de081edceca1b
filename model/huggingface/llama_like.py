"""What the families that look like Llama share: their sizes, and the names of their tensors."""

from collections.abc import Mapping
from typing import Any

from lengthwise.common.trees import as_tree
from lengthwise.model.huggingface.fields import ACTIVATIONS, Fields
from lengthwise.model.huggingface.layers import rope_of
from lengthwise.model.huggingface.rope import RotarySettings, write_rope
from lengthwise.model.huggingface.table import Entry, matrix
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.model.spec import ModelSpec

# Norms of a block in Llama's names: of what its branches read.
PRE_NORMS = {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}
_PROJECTIONS = {"query": "q", "key": "k", "value": "v", "output": "o"}


def read_sizes(
    fields: Fields,
    *,
    kv_heads: int | None = None,
    head_dim: int | None = None,
    tied: bool = False,
    epsilon: float = 1e-6,
    activation: str = "hidden_act",
    default_activation: str = "silu",
) -> dict[str, Any]:
    """Fields of `ModelConfig` that all these families have, as flags nest.

    Args:
      kv_heads, head_dim, tied, epsilon, default_activation: where the file has none. None: as many
        as heads; the embedding divided by them.
    """
    heads, width = fields.whole("num_attention_heads"), fields.whole("hidden_size")
    return {
        "layers": fields.whole("num_hidden_layers"),
        "embed_dim": width,
        "num_heads": heads,
        "num_kv_heads": fields.whole("num_key_value_heads", kv_heads or heads, null=heads),
        "head_dim": fields.whole("head_dim", head_dim or width // heads, null=width // heads),
        "mlp_dim": fields.whole("intermediate_size"),
        "vocab_rows": fields.whole("vocab_size"),
        "tie_embeddings": fields.flag("tie_word_embeddings", tied),
        "qk_norm": "none",
        "block": {
            "norm_epsilon": fields.number("rms_norm_eps", epsilon),
            "activation": fields.activation(activation, default_activation),
        },
    }


def write_sizes(model: ModelSpec, activation: str = "hidden_act") -> dict[str, Any]:
    """The same in a config.json."""
    names = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    return {
        "hidden_size": model.embed_dim,
        "intermediate_size": model.mlp_dim,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_kv_heads,
        "head_dim": model.head_dim,
        "vocab_size": model.embedding_rows,
        "tie_word_embeddings": model.tie_embeddings,
        "rms_norm_eps": model.block.norm_epsilon,
        activation: names[model.block.activation],
    }


def with_rope(settings: dict[str, Any], rope: RotarySettings, entries: tuple[str, ...] = ()) -> Any:
    """Settings with RoPE in them, and a layer pattern."""
    positions = {
        "scheme": "rope",
        "rope": {"theta": rope.theta, "rotary_share": rope.share},
    }
    return settings | {
        "positions": positions,
        "layer_pattern": entries,
        "rope_scaling": as_tree(rope.scaling),
    }


def write_llama_rope(model: ModelSpec, scaling: RopeScaling, positions: int) -> dict[str, Any]:
    """RoPE of a model in a config.json: that of its first layer that has it."""
    scheme = rope_of(model)
    if scheme is None:
        return write_rope(RotarySettings(10_000.0, 1.0, scaling), positions)
    return write_rope(RotarySettings(scheme.theta, scheme.rotary_share, scaling), positions)


def llama_table(
    model: ModelSpec, norms: Mapping[str, str] = PRE_NORMS, fused: bool = False
) -> list[Entry]:
    """The table of a model in Llama's names.

    Args:
      norms: those of a block, ours -> theirs.
      fused: the matrices of attention and MLP aren't among them.
    """
    at = "model.layers.{}"
    entries = [
        Entry("embedding", "model.embed_tokens.weight"),
        Entry("final_norm.scale", "model.norm.weight"),
    ]
    if not model.tie_embeddings:
        entries.append(matrix("unembedding", "lm_head.weight"))
    entries += [Entry(f"blocks.{o}.scale", f"{at}.{t}.weight") for o, t in norms.items()]
    if model.qk_norm != "none":
        for ours, theirs in (("query", "q"), ("key", "k")):
            entries.append(
                Entry(f"blocks.attention.{ours}_norm.scale", f"{at}.self_attn.{theirs}_norm.weight")
            )
    if fused:
        return entries
    for ours, letter in _PROJECTIONS.items():
        theirs = f"{at}.self_attn.{letter}_proj"
        entries.append(matrix(f"blocks.attention.{ours}", f"{theirs}.weight"))
        biased = model.block.attention_bias
        if biased == "all" or (biased == "qkv" and ours != "output"):
            entries.append(Entry(f"blocks.attention.{ours}_bias", f"{theirs}.bias"))
    for name in ("gate", "up", "down"):
        entries.append(matrix(f"blocks.mlp.{name}", f"{at}.mlp.{name}_proj.weight"))
        if model.block.mlp_bias:
            entries.append(Entry(f"blocks.mlp.{name}_bias", f"{at}.mlp.{name}_proj.bias"))
    return entries
