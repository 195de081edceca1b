"""The five-part scratchpad of addition, whole, with as little as it needs, and none."""

from lengthwise.experiments.definition import Arm, Claim, Experiment
from lengthwise.experiments.definitions.model_sizes import TWELVE_LAYERS

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
        "one setting for all arms; positions, trained lengths and steps of the CPU scale are from "
        "pilot runs of another seed, scored on samples of trained lengths alone: with all five "
        "parts and up to three digits all were right after 8,000 steps with RoPE; up to four, .93 "
        "after 10,000 without positions"
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
            "data.task.lengths": (1, 3),
            "data.task.samples": 500_000,
            "model.positions.scheme": "rope",
            "phase.layout.smallest_bucket": 16,
            "phase.layout.largest_bucket": 128,
            "phase.tokens_per_step": 1024,
            "phase.steps": 10_000,
            "train.eval_every": 2000,
            "train.checkpoint_every": 2000,
            "eval.answers.lengths": (1, 6, 1),
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
    earlier={
        "cpu": (
            "trained up to two digits, where all arms had nothing right beyond: contradicted, by "
            "the rule of then"
        )
    },
    reasons={
        "cpu": (
            "with RoPE no arm has a number of even one digit more right, whatever is written down, "
            "so that nothing of how far a scratchpad carries can be seen. The source trains up to "
            "8 digits"
        )
    },
)
