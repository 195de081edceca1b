"""The 160M model of dataset decomposition (arXiv 2405.13226, table 12).

Name data of token ids, or another tokenizer.
"""

from ml_collections import ConfigDict

from configs.dd_published import sized


def get_config() -> ConfigDict:
    return sized(layers=12, embed_dim=768, num_heads=12)
