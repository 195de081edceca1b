"""The default config of `benchmarks.model.parallel`."""

from ml_collections import ConfigDict

from lengthwise.configs import base


def get_config() -> ConfigDict:
    """Small enough to compile in seconds, large enough for vectors to be negligible."""
    config = base.get_config()
    config.data.tokenizer = "ids:32768:0"
    config.model.layers = 4
    config.model.embed_dim = 1024
    config.model.num_heads = config.model.num_kv_heads = 8
    config.model.head_dim = 128
    config.model.mlp_dim = 2816
    config.model.tie_embeddings = False
    config.model.remat = "full"
    config.phase.tokens_per_step = 1 << 17
    config.phase.layout.smallest_bucket = 512
    config.phase.layout.largest_bucket = 32_768
    config.phase.layout.tails = "drop"
    return config
