"""A 7B model with the recipe of dataset decomposition, whose paper timed one (figure 7).

Name data of token ids, or another tokenizer.
"""

from ml_collections import ConfigDict

from configs.dd_published import sized


def get_config() -> ConfigDict:
    return sized(layers=32, embed_dim=4096, num_heads=32)
