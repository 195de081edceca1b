"""How often two (task, scheme) pairs generalize over crossed seeds, and how many a claim needs."""

from lengthwise.experiments.definition import Arm, Claim, Crossed, ExperimentDefinition
from lengthwise.experiments.definitions.model_sizes import FOUR_LAYERS

EXPERIMENT = ExperimentDefinition(
    name="seed_variance",
    question="Copying one symbol: how much of a result is the seed?",
    source="Zhou et al. 2024, arXiv 2402.09371 (length generalization is fragile to seeds)",
    published=(
        "addition, one recipe: generalization varies widely with initialization and with the order "
        "of the data. Kazemnejad et al. 2023 (arXiv 2305.19466), of copying from three seeds: NoPE "
        "1.00 at 25 and .99 at 30 where 20 is trained, ALiBi .92 and 0"
    ),
    tuning="none: the same settings for both pairs; a success was set to .9 before any run",
    arms=(
        Arm("none", "copy V1, NoPE", {"model.positions.scheme": "none"}, "1.00, .99 at 1.5x"),
        Arm("alibi", "copy V1, ALiBi", {"model.positions.scheme": "alibi"}, ".92, 0 at 1.5x"),
    ),
    claims=(Claim("none", "alibi", margin=0.1),),
    scales={
        "cpu": {
            "data.task.name": "copy_v1",
            "data.task.lengths": (1, 10),
            "data.task.samples": 40_000,
            "phase.tokens_per_step": 1024,
            "phase.steps": 600,
            "eval.answers.lengths": (1, 15, 1),
        },
        "h200": {
            **FOUR_LAYERS,
            "data.task.name": "copy_v1",
            "data.task.lengths": (1, 20),
            "data.task.samples": 100_000,
            "phase.layout.largest_bucket": 64,
            "phase.steps": 5000,
            "eval.answers.lengths": (1, 30, 1),
        },
    },
    crossed=Crossed(orders=5, success=0.9),
)
