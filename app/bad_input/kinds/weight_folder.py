"""A Hugging Face folder whose config.json, or the header of its weights, is damaged."""

import contextlib
import json
from pathlib import Path

import numpy as np

from lengthwise.app.bad_input.case import KINDS, Case
from lengthwise.app.bad_input.damage import damaged
from lengthwise.model.huggingface.folder import WeightFolder
from lengthwise.model.huggingface.safetensors import DTYPES, write_safetensors

_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 16,
    "tie_word_embeddings": True,
    "rope_scaling": {"rope_type": "linear", "factor": 2.0},
}
_SHAPES = {
    "model.embed_tokens.weight": (16, 8),
    "model.norm.weight": (8,),
    "model.layers.0.input_layernorm.weight": (8,),
    "model.layers.0.post_attention_layernorm.weight": (8,),
    "model.layers.0.self_attn.q_proj.weight": (8, 8),
    "model.layers.0.self_attn.k_proj.weight": (4, 8),
    "model.layers.0.self_attn.v_proj.weight": (4, 8),
    "model.layers.0.self_attn.o_proj.weight": (8, 8),
    "model.layers.0.mlp.gate_proj.weight": (12, 8),
    "model.layers.0.mlp.up_proj.weight": (12, 8),
    "model.layers.0.mlp.down_proj.weight": (8, 12),
}
_HEADER = 1200  # bytes of the file of weights, from its beginning, most of which are its header


@KINDS.register("weight folders")
def weight_folder(seed: int, folder: Path) -> Case:
    """Opens the folder and compares its tensors with its config."""
    rng = np.random.default_rng(seed)
    config, weights = folder / "config.json", folder / "model.safetensors"
    config.write_text(json.dumps(_CONFIG))
    arrays = {name: (DTYPES["F32"], shape) for name, shape in _SHAPES.items()}
    write_safetensors(weights, arrays, lambda name: np.zeros(_SHAPES[name]))
    file = (config, weights)[seed % 2]
    content = file.read_bytes()
    head, rest = content[:_HEADER], content[_HEADER:]
    what, changed = damaged(rng, head)
    file.write_bytes(changed + rest)

    def run() -> None:
        with contextlib.closing(WeightFolder(folder)) as opened:
            _ = opened.tensors, opened.positions, opened.end_of_text

    return Case(f"{file.name}: {what}", run)
