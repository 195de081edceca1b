"""The 410M model of dataset decomposition (arXiv 2405.13226, table 12).

Name data of token ids, or another tokenizer.
"""

from ml_collections import ConfigDict

from configs.dd_published import sized


def get_config() -> ConfigDict:
    return sized(layers=24, embed_dim=1024, num_heads=16)
