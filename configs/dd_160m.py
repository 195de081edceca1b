"""The 160M model of dataset decomposition (arXiv 2405.13226, table 12).

Token ids of a vocabulary of 50,432 come as they are: name data that is tokenized, or another
tokenizer.
"""

from ml_collections import ConfigDict

from configs import dd_published


def get_config() -> ConfigDict:
    config = dd_published.get_config()
    config.data.tokenizer = "ids:50432:0"
    config.model.positions.rope.theta = 100_000.0
    config.model.layers = 12
    config.model.embed_dim = 768
    config.model.num_heads = 12
    config.model.num_kv_heads = 12
    config.model.head_dim = 64
    config.model.mlp_dim = 2048
    return config
