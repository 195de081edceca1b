"""The embedded corpus as bytes, a 0.9M-parameter decoder, L_train = 128: minutes on two cores."""

from ml_collections import ConfigDict

from lengthwise.configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.model.layers = 4
    config.model.embed_dim = 128
    config.model.num_heads = 4
    config.model.num_kv_heads = 4
    config.model.mlp_dim = 384
    config.optimizer.learning_rate = 4e-3
    config.optimizer.warmup_steps = 40
    config.phase.steps = 400
    config.phase.tokens_per_step = 4096
    config.phase.layout.smallest_bucket = 32
    config.phase.layout.largest_bucket = 128
    # Equal shares would leave the last positions of the longest bucket barely trained.
    config.phase.layout.mixture = "explicit"
    config.phase.layout.shares = (0.15, 0.25, 0.6)
    config.train.eval_every = 200
    config.train.checkpoint_every = 200
    config.eval.documents = 80
    config.eval.blocks = 2
    config.eval.targets_per_row = 4
    return config
