"""The embedded corpus, a 0.8M-parameter decoder, L_train = 128: minutes on two cores."""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.model.layers = 4
    config.model.embed_dim = 128
    config.model.num_heads = 4
    config.model.num_kv_heads = 4
    config.model.mlp_dim = 384
    config.optimizer.learning_rate = 4e-3
    config.phase.steps = 2000
    config.phase.tokens_per_step = 8192
    config.phase.layout.smallest_bucket = 32
    config.phase.layout.largest_bucket = 128
    config.phase.layout.mixture = "equal_tokens"
    config.eval.ratios = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    return config
