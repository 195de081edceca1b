"""A 7B model in the manner of dataset decomposition (arXiv 2405.13226).

Token ids of a vocabulary of 50,432 come as they are: name data that is tokenized, or another
tokenizer.
"""

from ml_collections import ConfigDict

from configs import dd_published


def get_config() -> ConfigDict:
    config = dd_published.get_config()
    config.data.tokenizer = "ids:50432:0"
    config.model.positions.rope.theta = 100_000.0
    config.model.layers = 32
    config.model.embed_dim = 4096
    config.model.num_heads = 32
    config.model.num_kv_heads = 32
    config.model.head_dim = 128
    config.model.mlp_dim = 11008
    return config
