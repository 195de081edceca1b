"""Dataset decomposition as its paper ran it (arXiv 2405.13226), at five sizes.

    python main.py --config=configs/dd.py --workdir=...      160M parameters, bytes
    python main.py --config=configs/dd.py:1b --workdir=...   a size of SIZES, token ids

Buckets of 256 to 8,192 tokens, Grow-P2 in 8 cycles, 2^19 tokens a step, the optimizer of its table
12, and the published cut: what its authors' code drops is dropped. Compare with
`--config.phase.layout.cut=longest_first --config.phase.layout.tails=pack`, which keeps every token.
A named size takes token ids of the paper's vocabulary and its RoPE base; name data of ids, or
another tokenizer.
"""

from ml_collections import ConfigDict

from lengthwise.common.errors import UserError
from lengthwise.configs import base

# Size -> layers, channels, heads. Table 12 of the paper; it timed a 7B model (figure 7).
SIZES = {
    "160m": (12, 768, 12),
    "410m": (24, 1024, 16),
    "1b": (24, 2048, 16),
    "7b": (32, 4096, 32),
}
# Ours: 1b, then a phase of documents of 131,072 to 1,048,576 tokens, 2^20 tokens a step.
LONG = "1b_long"


def get_config(size: str = "") -> ConfigDict:
    """The recipe; `size` is what follows the colon of --config."""
    config = base.get_config()
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
    if size:
        config.data.tokenizer = "ids:50432:0"
        config.model.positions.rope.theta = 100_000.0
    if size == LONG:
        long = {
            "steps": 2000,
            "tokens_per_step": 1 << 20,
            "layout": {"smallest_bucket": 1 << 17, "largest_bucket": 1 << 20},
            "rope_scaling": {"kind": "yarn", "factor": 128.0, "original_length": 8192},
        }
        config.phases = ({}, long)
        size = "1b"
    if size and size not in SIZES:
        raise UserError(f"configs/dd.py:{size}: choose one of {', '.join([*SIZES, LONG])}")
    layers, embed_dim, num_heads = SIZES[size or "160m"]
    config.model.layers = layers
    config.model.embed_dim = embed_dim
    config.model.num_heads = config.model.num_kv_heads = num_heads
    config.model.head_dim = embed_dim // num_heads
    config.model.mlp_dim = 256 * -(-8 * embed_dim // (3 * 256))
    return config
