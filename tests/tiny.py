"""A config that trains in seconds, and a corpus to train it on."""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from lengthwise.configs import base


def get_config() -> ConfigDict:
    """16-channel decoder, buckets 16 to 64, two cycles, dropout on."""
    config = base.get_config()
    config.data.source = "text"
    config.data.workers = 1
    config.data.selection_share = 0.2
    config.data.report_share = 0.2
    config.model.layers = 1
    config.model.embed_dim = 16
    config.model.num_heads = 2
    config.model.num_kv_heads = 1
    config.model.head_dim = 8
    config.model.mlp_dim = 32
    config.model.dropout = 0.1
    config.optimizer.warmup_steps = 4
    config.optimizer.schedule = "constant"  # so that a longer run has the same steps compiled
    config.phase.steps = 60
    config.phase.tokens_per_step = 512
    config.phase.layout.smallest_bucket = 16
    config.phase.layout.largest_bucket = 64
    config.phase.layout.mixture = "equal_tokens"
    config.phase.curriculum.cycles = 2
    config.train.checkpoint_every = 10
    config.train.eval_every = 20
    config.train.checksums = True
    config.eval.ratios = (0.5, 1.0, 2.0, 4.0)
    config.eval.documents = 16
    config.eval.min_documents = 4
    config.eval.blocks = 2
    config.eval.targets_per_block = 8
    config.eval.targets_per_row = 4
    config.eval.bootstrap_samples = 100
    config.eval.tokens_per_call = 2048
    return config


def write_corpus(folder: Path, documents: int = 60, seed: int = 0) -> Path:
    """Text files of 40 to 2,000 characters made of random words."""
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("abcdefgh"), rng.integers(2, 8))) for _ in range(200)]
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(documents):
        size = int(np.exp(rng.uniform(np.log(40), np.log(2000))))
        text = " ".join(rng.choice(words, size // 5 + 1))
        (folder / f"{number:03}.txt").write_text(text)
    return folder
