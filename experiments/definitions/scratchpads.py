"""The five-part scratchpad of addition, whole, with as little as it needs, and none."""

from experiments.definition import Arm, Claim, Experiment
from experiments.definitions.model_sizes import TWELVE_LAYERS

_PAD = {"data.task.format.transforms": ("reversed", "scratchpad")}
_COMMON = {"data.task.name": "addition", "data.task.format.transforms": ("reversed",)}

EXPERIMENT = Experiment(
    name="scratchpads",
    question="Addition: does a scratchpad carry it to longer numbers, even a minimal one?",
    source="Kazemnejad et al. 2023, arXiv 2305.19466",
    published=(
        "12 layers, 768 channels, 40,000 steps, trained up to 8 digits, tested up to 16: of all "
        "tasks the scratchpad helps addition alone, and which parts help depends on the positions. "
        "The answer is written forwards there, and reversed here in all arms, so that it can be "
        "learned without a scratchpad"
    ),
    tuning=(
        "one setting for all arms; positions and trained lengths of the CPU scale are from pilot "
        "runs of another seed, scored on selection samples of trained lengths alone: up to three "
        "digits without positions .47 were right without a scratchpad after 1,500 steps, .49 with "
        "a minimal one after 800"
    ),
    arms=(
        Arm("full", "all five parts", _PAD, "better than none"),
        Arm(
            "minimal",
            "output and variables",
            {**_PAD, "data.task.format.scratchpad_parts": ("output", "variables")},
            "no number at hand",
        ),
        Arm("none", "no scratchpad", {}, "worse than with one"),
    ),
    claims=(Claim("full", "none", margin=0.1), Claim("minimal", "none", margin=0.1)),
    scales={
        "cpu": {
            **_COMMON,
            "data.task.lengths": (1, 2),
            "data.task.samples": 150_000,
            "model.positions.scheme": "rope",
            "phase.layout.smallest_bucket": 16,
            "phase.layout.largest_bucket": 128,
            "phase.steps": 1200,
            "train.eval_every": 400,
            "train.checkpoint_every": 400,
            "eval.answers.lengths": (1, 4, 1),
        },
        "h200": {
            **_COMMON,
            **TWELVE_LAYERS,
            "data.task.lengths": (1, 8),
            "phase.layout.largest_bucket": 512,
            "phase.tokens_per_step": 16_384,
            "eval.answers.lengths": (2, 16, 2),
        },
    },
    reasons={
        "cpu": (
            "numbers of one and two digits are 10,000 pairs at most, few enough to be known one by "
            "one, and a step of the scratchpad never follows more than one other. The source "
            "trains up to 8 digits"
        )
    },
)
