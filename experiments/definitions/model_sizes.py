"""Models and positions that several experiments share, as differences from configs/task.py."""

from lengthwise.experiments.definition import Changes

# 12 layers of Kazemnejad et al. 2023 (arXiv 2305.19466).
TWELVE_LAYERS = {
    "model.layers": 12,
    "model.embed_dim": 768,
    "model.num_heads": 12,
    "model.num_kv_heads": 12,
    "model.head_dim": 64,
    "model.mlp_dim": 2048,
    "model.dropout": 0.1,
    "optimizer.learning_rate": 3e-5,
    "optimizer.l2": 0.05,
    "optimizer.warmup_steps": 2400,
    "phase.steps": 40_000,
    "phase.tokens_per_step": 4096,
    "data.task.samples": 100_000,
    "train.eval_every": 2000,
    "train.checkpoint_every": 2000,
}

# 6 layers of Lee et al. 2023 (arXiv 2307.03381).
SIX_LAYERS = {
    "model.layers": 6,
    "model.embed_dim": 384,
    "model.num_heads": 6,
    "model.num_kv_heads": 6,
    "model.head_dim": 64,
    "model.mlp_dim": 1024,
    "model.dropout": 0.2,
    "optimizer.learning_rate": 1e-3,
    "phase.steps": 5000,
    "phase.tokens_per_step": 4096,
    "train.eval_every": 500,
    "train.checkpoint_every": 500,
}

# Small enough for minutes on a GPU, at the number of steps of Huang et al. 2024 (arXiv 2410.02140).
FOUR_LAYERS = {
    "model.layers": 4,
    "model.embed_dim": 256,
    "model.head_dim": 64,
    "model.mlp_dim": 768,
    "optimizer.learning_rate": 3e-4,
    "phase.steps": 30_000,
    "phase.tokens_per_step": 8192,
    "data.task.samples": 2_000_000,
    "train.eval_every": 1000,
    "train.checkpoint_every": 1000,
}


def random_shift(positions: int) -> Changes:
    """Learned positions; each row's begin at a random one (Zhou et al. 2023, 2310.16028).

    positions: rows of the table; at least as many as the longest tested sample has tokens.
    """
    return {
        "model.positions.scheme": "learned",
        "model.positions.learned.positions": positions,
        "phase.positions.kind": "shift",
        "phase.positions.target_length": positions,
    }
