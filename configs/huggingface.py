"""A model of a Hugging Face folder: its fields, its tokenizer, its weights to begin with.

    python main.py --config=configs/huggingface.py:FOLDER --workdir=...

FOLDER holds config.json, *.safetensors and tokenizer.json, or is a name of the hub. --mode=train
goes on from the weights; --mode=eval and --mode=generate take them as they are. Rows are as long as
the model is for, a power of two; shorter ones take less memory:
`--config.phase.layout.largest_bucket=2048`.
"""

import contextlib
from typing import Any

from ml_collections import ConfigDict

from lengthwise.common.errors import UserError
from lengthwise.common.trees import as_tree
from lengthwise.configs import base
from lengthwise.data.store.folder_tokenizer import folder_tokenizer
from lengthwise.model.huggingface.folder import WeightFolder
from lengthwise.model.huggingface.hub import weight_folder_path

LEARNING_RATE = 1e-5  # of weights that are trained already
_UNKNOWN_LENGTH = 2048  # where config.json doesn't say


def get_config(folder: str = "") -> ConfigDict:
    """The recipe; `folder` is what follows the colon of --config."""
    if not folder:
        raise UserError("name the folder of weights: --config=configs/huggingface.py:FOLDER")
    path = weight_folder_path(folder, "--config=configs/huggingface.py")
    config = base.get_config()
    with contextlib.closing(WeightFolder(path)) as weights:
        _put(config.model, as_tree(weights.model))
        length = 1 << ((weights.positions or _UNKNOWN_LENGTH).bit_length() - 1)
        tokens = folder_tokenizer(path, weights.end_of_text, weights.family.begins)
    config.train.init_from = str(path)
    config.data.tokenizer = tokens.path
    config.data.end_of_text_token = tokens.end_of_text
    config.data.begin_with = tokens.begin_with
    config.data.unknown_text = "allow"
    config.phase.layout.largest_bucket = length
    config.phase.layout.smallest_bucket = min(length, config.phase.layout.smallest_bucket)
    config.phase.tokens_per_step = max(length, config.phase.tokens_per_step)
    config.optimizer.learning_rate = LEARNING_RATE
    return config


def _put(section: ConfigDict, tree: dict[str, Any]) -> None:
    """Sets the fields of a section."""
    for name, value in tree.items():
        if isinstance(value, dict):
            _put(section[name], value)
        else:
            section[name] = value
