"""Majority against parity, one with a short RASP-L program and one without (Zhou et al. 2023)."""

from lengthwise.experiments.definition import Arm, Claim, ExperimentDefinition

_AT_50 = {
    "data.task.lengths": (1, 50),
    "phase.layout.largest_bucket": 64,
    "eval.answers.lengths": (10, 150, 10),
    "model.layers": 4,
    "model.embed_dim": 256,
    "model.head_dim": 64,
    "model.mlp_dim": 768,
    "optimizer.learning_rate": 3e-4,
    "phase.steps": 30_000,
    "phase.tokens_per_step": 4096,
    "data.task.samples": 2_000_000,
    "train.eval_every": 1000,
    "train.checkpoint_every": 1000,
}

EXPERIMENT = ExperimentDefinition(
    name="majority_parity",
    question=(
        "Where both are right at trained lengths: is majority right at longer ones, and parity not?"
    ),
    source="Zhou et al. 2023, arXiv 2310.16028; numbers of Huang et al. 2024, arXiv 2410.02140",
    published=(
        "no positions, trained on lengths up to 50, at most 30,000 steps; exact match at 51-100 "
        "and 101-150"
    ),
    tuning=(
        "one setting for both arms; the trained lengths of the CPU scale were chosen so that "
        "parity passes the gate, by the selection samples at trained lengths. Parity of up to 10 "
        "bits has 2,046 problems, few enough to be known one by one"
    ),
    arms=(
        Arm("majority", "majority", {"data.task.name": "majority"}, "1.0 and 1.0"),
        Arm("parity", "parity", {"data.task.name": "parity"}, ".73-.76 and .61-.65"),
    ),
    claims=(Claim("majority", "parity", margin=0.1),),
    scales={
        "cpu": {
            "data.task.lengths": (1, 10),
            "data.task.samples": 200_000,
            "eval.answers.lengths": (2, 30, 2),
            "phase.steps": 1500,
            "train.eval_every": 500,
            "train.checkpoint_every": 500,
        },
        "h200": _AT_50,
        "pod": {**_AT_50, "model.layers": 12, "phase.tokens_per_step": 32_768},
    },
)
