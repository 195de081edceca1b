"""A tiny folder of weights with the byte tokenizer, as transformers would have it."""

import jax
import numpy as np

from lengthwise.common.files import write_json
from lengthwise.data.store.byte_tokenizer_file import byte_tokenizer
from lengthwise.model.huggingface.export import choose_family, write_config, write_weights
from lengthwise.model.positions.rope_scaling import UNSCALED
from lengthwise.model.transformer import init_params
from tests.model.decoder_reference import PLAIN, changed

MODEL = changed(PLAIN, vocab_size=257, vocab_rows=264, layer_pattern=("rope", "none"))


def write_weight_folder(path, model=MODEL, positions=64):
    leaves = jax.tree_util.tree_leaves_with_path(init_params(model, 0))
    names = {jax.tree_util.keystr(p, simple=True, separator="."): np.asarray(x) for p, x in leaves}
    family, config = choose_family("", model, UNSCALED, positions)
    write_weights(path, family, model, names.__getitem__, "float32")
    write_json(path / "tokenizer.json", byte_tokenizer())
    write_config(path, family, config, "float32", {"eos_token_id": 256})
    return path
