"""A task as a corpus: sorting up to 10 symbols, tested up to 20, in minutes on two cores.

Another one: --config.data.task.name=addition, with its lengths, buckets and eval.answers.lengths.
"""

from ml_collections import ConfigDict

from lengthwise.configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.source = "task"
    config.data.task.name = "sort"
    config.data.task.lengths = (1, 10)
    config.data.task.samples = 120_000  # about an epoch: hardly any is seen twice
    config.data.near_duplicate_threshold = 0.0
    config.data.selection_share = 0.0  # scores are of fresh samples
    config.data.report_share = 0.0
    config.model.layers = 2
    config.model.embed_dim = 64
    config.model.num_heads = 4
    config.model.num_kv_heads = 4
    config.model.head_dim = 16
    config.model.mlp_dim = 192
    config.model.positions.scheme = "none"
    config.optimizer.learning_rate = 2e-3
    config.phase.steps = 1000
    config.phase.tokens_per_step = 2048
    config.phase.layout.name = "whole"
    config.phase.layout.targets = "answers"
    config.phase.layout.smallest_bucket = 8
    config.phase.layout.largest_bucket = 32
    config.phase.curriculum.name = "natural"
    config.train.eval_every = 250
    config.train.checkpoint_every = 250
    config.eval.answers.lengths = (1, 20, 1)
    return config
