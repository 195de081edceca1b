"""Position schemes on copying x^n (Kazemnejad et al. 2023)."""

from experiments.definition import Arm, Claim, Experiment


def _arm(scheme: str, label: str, published: str) -> Arm:
    return Arm(scheme, label, {"model.positions.scheme": scheme}, published)


_COMMON = {
    "data.task.name": "copy_v1",
    "data.task.lengths": (1, 20),
    "phase.layout.largest_bucket": 64,
    "eval.answers.lengths": (5, 40, 5),
    # Rotary angles as in the source's code: a quarter of the channels of a head.
    "model.positions.rope.rotary_share": 0.25,
}
_PUBLISHED_SIZE = {
    **_COMMON,
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

EXPERIMENT = Experiment(
    name="copy_positions",
    question="Copying one symbol: do decoders without positions generalize furthest?",
    source="Kazemnejad et al. 2023, arXiv 2305.19466",
    published=(
        "12 layers, 768 channels, 40,000 steps, trained on lengths up to 20, tested up to 40; "
        "exact match on copy V1, three seeds"
    ),
    tuning="none: the same settings for every arm",
    arms=(
        _arm("none", "NoPE", "1.00 at 25, .99 at 30, .96 at 40"),
        _arm("t5", "T5", "1.00 at 25, .94 at 30, .21 at 40"),
        _arm("alibi", "ALiBi", ".92 at 25, 0 at 30 and 40"),
        _arm("rope", "RoPE", "0 from 21 on"),
        _arm("sinusoidal", "sinusoidal", "0 from 21 on"),
    ),
    claims=tuple(
        Claim("none", worse, margin=0.1) for worse in ("rope", "sinusoidal", "alibi", "t5")
    ),
    scales={
        "cpu": {
            **_COMMON,
            "data.task.samples": 60_000,
            "optimizer.learning_rate": 1e-3,
            "phase.steps": 1500,
            "train.eval_every": 500,
            "train.checkpoint_every": 500,
        },
        "h200": _PUBLISHED_SIZE,
        "pod": {**_PUBLISHED_SIZE, "model.layers": 24, "phase.tokens_per_step": 32_768},
    },
)
