"""Dataset decomposition as its authors' code cuts (arXiv 2405.13226): what it drops is dropped.

Buckets of 256 to 8,192 tokens, Grow-P2 in 8 cycles, 2^19 tokens a step, the optimizer of its table
12 and its 160M model. Compare with `--config.phase.layout.cut=longest_first
--config.phase.layout.tails=pack`, which keeps every token.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.model.layers = 12
    config.model.embed_dim = 768
    config.model.num_heads = 12
    config.model.num_kv_heads = 12
    config.model.head_dim = 64
    config.model.mlp_dim = 2048  # 256 * ceil((8 * 768 / 3) / 256)
    config.model.tie_embeddings = False
    config.optimizer.learning_rate = 3e-3
    config.optimizer.final_share = 0.01
    config.optimizer.warmup_steps = 5000
    config.phase.steps = 32_768  # 17B tokens
    config.phase.tokens_per_step = 1 << 19
    config.phase.layout.smallest_bucket = 256
    config.phase.layout.largest_bucket = 8192
    config.phase.layout.cut = "published"
    config.phase.layout.tails = "drop"
    config.phase.curriculum.name = "grow_p2"
    config.phase.curriculum.cycles = 8
    return config


def sized(layers: int, embed_dim: int, num_heads: int) -> ConfigDict:
    """The recipe at another size, for token ids of the paper's vocabulary, with its RoPE base."""
    config = get_config()
    config.data.tokenizer = "ids:50432:0"
    config.model.positions.rope.theta = 100_000.0
    config.model.layers = layers
    config.model.embed_dim = embed_dim
    config.model.num_heads = config.model.num_kv_heads = num_heads
    config.model.head_dim = embed_dim // num_heads
    config.model.mlp_dim = 256 * -(-8 * embed_dim // (3 * 256))
    return config
