"""Addition written plainly, reversed and with scratchpads: samples that each needs (Lee 2023)."""

from lengthwise.experiments.definition import SAMPLES, Arm, Claim, Experiment
from lengthwise.experiments.definitions.model_sizes import SIX_LAYERS

_COMMON = {
    "data.task.name": "addition",
    "data.task.lengths": (1, 3),
    "model.positions.scheme": "learned",
    "eval.answers.lengths": (1, 5, 1),
    "eval.answers.samples": 512,
}


def _arm(name: str, label: str, transforms: tuple[str, ...], published: str) -> Arm:
    return Arm(name, label, {"data.task.format.transforms": transforms}, published)


EXPERIMENT = Experiment(
    name="addition_formats",
    question="Addition up to three digits: are fewer samples enough with the work written out?",
    source="Lee et al. 2023, arXiv 2307.03381",
    published=(
        "6 layers, 384 channels, 5,000 steps: exact match of three digits as the number of samples "
        "grows, which are seen again and again. Here samples are fresh, and counted until the "
        "selection samples are first 99 % right, so that a run gives the whole curve"
    ),
    tuning="none: the same settings for all arms",
    arms=(
        _arm("plain", "plain", (), "about 85 % with 10,000 samples (from memory)"),
        _arm("reversed", "reversed", ("reversed",), "100 % with about 2,500 samples (from memory)"),
        _arm(
            "simple",
            "simple scratchpad",
            ("simple_scratchpad",),
            "fewer than reversed (from memory)",
        ),
        _arm(
            "detailed",
            "detailed scratchpad",
            ("detailed_scratchpad",),
            "about 1,000 samples (from memory)",
        ),
    ),
    claims=(
        Claim("reversed", "plain", margin=1.0, where=SAMPLES),
        Claim("simple", "plain", margin=1.0, where=SAMPLES),
        Claim("detailed", "reversed", margin=0.5, where=SAMPLES),
    ),
    scales={
        "cpu": {
            **_COMMON,
            "data.task.samples": 260_000,
            "phase.layout.smallest_bucket": 16,
            "phase.layout.largest_bucket": 64,
            "phase.steps": 2000,
            "train.eval_every": 100,
            "train.checkpoint_every": 500,
        },
        "h200": {
            **_COMMON,
            **SIX_LAYERS,
            "data.task.samples": 2_600_000,
            "phase.layout.smallest_bucket": 16,
            "phase.layout.largest_bucket": 256,
            "phase.tokens_per_step": 8192,
            "train.eval_every": 50,
        },
    },
    left_out={"cpu": ("detailed",)},
    reasons={
        "cpu": (
            "means point the published way, in twice and almost four times fewer samples, but "
            "plain addition varies from 140,000 samples to more than a run has, and three seeds "
            "are too few for that"
        )
    },
)
