"""The quickstart: the embedded corpus in pieces of BPE, a decoder that makes use of 256 tokens.

Minutes on two cores. docs/quickstart.md has the runs that chose it.
"""

from ml_collections import ConfigDict

from lengthwise.configs import bytes as bytes_config


def get_config() -> ConfigDict:
    config = bytes_config.get_config()
    config.data.tokenizer = "train:bpe:2048"
    config.model.layers = 3
    config.model.smeared_keys = True
    config.optimizer.warmup_steps = 50
    config.phase.steps = 1500
    config.phase.tokens_per_step = 1024
    config.phase.layout.smallest_bucket = 64
    config.phase.layout.largest_bucket = 256
    config.train.eval_every = 500
    config.train.checkpoint_every = 500
    return config
