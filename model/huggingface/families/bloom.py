"""BLOOM (arXiv:2211.05100)."""

from typing import Any

from lengthwise.model.huggingface.families.gpt_neox import biased_table
from lengthwise.model.huggingface.family import FAMILIES, Family
from lengthwise.model.huggingface.fields import Fields
from lengthwise.model.huggingface.table import Entry, matrix
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.model.spec import ModelSpec


@FAMILIES.register("bloom")
class Bloom(Family):
    """LayerNorms, one of them on the embeddings, biases, a plain MLP, ALiBi."""

    architecture = "BloomForCausalLM"
    prefix = "transformer."

    def settings(self, fields: Fields) -> dict[str, Any]:
        fields.only("apply_residual_connection_post_layernorm", False, False)
        heads = fields.whole("n_head", fields.whole("num_attention_heads", 8))
        width = fields.whole("n_embed", fields.whole("hidden_size", 64))
        return {
            "layers": fields.whole("n_layer", fields.whole("num_hidden_layers", 2)),
            "embed_dim": width,
            "num_heads": heads,
            "num_kv_heads": heads,
            "head_dim": width // heads,
            "mlp_dim": 4 * width,
            "vocab_rows": fields.whole("vocab_size"),
            "tie_embeddings": fields.flag("tie_word_embeddings", True),
            "qk_norm": "none",
            "embedding_norm": True,
            "positions": {"scheme": "alibi"},
            "layer_pattern": (),
            "block": {
                "norm": "layer",
                "norm_epsilon": fields.number("layer_norm_epsilon", 1e-5),
                "attention_bias": "all",
                "mlp": "plain",
                "mlp_bias": True,
                "activation": "gelu_tanh",
            },
        }

    def config(self, model: ModelSpec, scaling: RopeScaling, positions: int) -> dict[str, Any]:
        return {
            "hidden_size": model.embed_dim,
            "n_layer": model.layers,
            "n_head": model.num_heads,
            "vocab_size": model.embedding_rows,
            "tie_word_embeddings": model.tie_embeddings,
            "layer_norm_epsilon": model.block.norm_epsilon,
            "apply_residual_connection_post_layernorm": False,
            "seq_length": positions,
        }

    def table(self, model: ModelSpec) -> list[Entry]:
        outside = [
            Entry("embedding", "transformer.word_embeddings.weight"),
            Entry("embedding_norm.scale", "transformer.word_embeddings_layernorm.weight"),
            Entry("embedding_norm.bias", "transformer.word_embeddings_layernorm.bias"),
            Entry("final_norm.scale", "transformer.ln_f.weight"),
            Entry("final_norm.bias", "transformer.ln_f.bias"),
        ]
        if not model.tie_embeddings:
            outside.append(matrix("unembedding", "lm_head.weight"))
        norms = {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}
        return biased_table(model, "transformer.h.{}", "self_attention", norms, outside)
