"""Copying words of different symbols against words of repeating ones (Zhou et al. 2023)."""

from experiments.definition import Arm, Claim, Experiment

_COMMON = {
    "data.task.lengths": (1, 50),
    "phase.layout.largest_bucket": 128,
    "eval.answers.lengths": (10, 100, 10),
    # A random shift is not among the position schemes. Learned positions drawn from a longer range
    # and sorted have the same aim: each row of the table is trained.
    "model.positions.scheme": "learned",
    "model.positions.learned.positions": 512,
    "model.positions.randomized": 512,
}

EXPERIMENT = Experiment(
    name="unique_repeat",
    question="Copying: are longer words right where symbols differ, and wrong where they repeat?",
    source="Zhou et al. 2023, arXiv 2310.16028; numbers of Huang et al. 2024, arXiv 2410.02140",
    published=(
        "learned positions with a random shift, trained on lengths up to 50, 30,000 steps at most; "
        "exact match at 51-100 and 101-150"
    ),
    tuning="none: the same settings for both arms",
    arms=(
        Arm("unique", "all different", {"data.task.name": "copy_unique"}, "~1.0 and .96-1.0"),
        Arm("repeat", "repeating", {"data.task.name": "copy_repeat"}, ".15-.24 and 0"),
    ),
    claims=(Claim("unique", "repeat", margin=0.1),),
    scales={
        "cpu": {
            **_COMMON,
            "data.task.lengths": (1, 20),
            "phase.layout.largest_bucket": 64,
            "eval.answers.lengths": (5, 40, 5),
            "data.task.samples": 300_000,
            "optimizer.learning_rate": 1e-3,
            "phase.steps": 6000,
            "train.eval_every": 1000,
            "train.checkpoint_every": 1000,
        },
        "h200": {
            **_COMMON,
            "data.task.samples": 2_000_000,
            "model.layers": 4,
            "model.embed_dim": 256,
            "model.head_dim": 64,
            "model.mlp_dim": 768,
            "optimizer.learning_rate": 1e-3,
            "phase.steps": 30_000,
            "phase.tokens_per_step": 8192,
            "train.eval_every": 1000,
            "train.checkpoint_every": 1000,
        },
    },
)
