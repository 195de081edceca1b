"""Addition with its answer written forwards or least significant digit first (Lee et al. 2023)."""

from experiments.definition import IN_RANGE, Arm, Claim, Experiment

_COMMON = {
    "data.task.name": "addition",
    "data.task.lengths": (1, 3),
    "model.positions.scheme": "learned",
    "eval.answers.lengths": (1, 5, 1),
    "eval.answers.samples": 512,
}

EXPERIMENT = Experiment(
    name="addition_formats",
    question="Addition up to three digits: are fewer samples enough with the answer reversed?",
    source="Lee et al. 2023, arXiv 2307.03381",
    published=(
        "6 layers, 384 channels, 5,000 steps: exact match of three digits as the number of samples "
        "grows"
    ),
    tuning="none: the same settings and samples for both arms",
    arms=(
        Arm("plain", "plain", {}, "about 85 % with 10,000 samples"),
        Arm(
            "reversed",
            "reversed",
            {"data.task.format.transforms": ("reversed",)},
            "100 % with about 2,500 samples",
        ),
    ),
    claims=(Claim("reversed", "plain", margin=0.02, where=IN_RANGE),),
    scales={
        "cpu": {
            **_COMMON,
            "data.task.samples": 50_000,
            "optimizer.learning_rate": 2e-3,
            "phase.steps": 4000,
            "train.eval_every": 1000,
            "train.checkpoint_every": 1000,
        },
        "h200": {
            **_COMMON,
            "data.task.samples": 10_000,
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
        },
    },
)
