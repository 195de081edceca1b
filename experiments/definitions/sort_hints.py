"""Sorting with an auxiliary task mixed in, at as many samples of sorting (Awasthi, Gupta 2023)."""

from lengthwise.experiments.definition import Arm, Claim, ExperimentDefinition
from lengthwise.experiments.definitions.model_sizes import FOUR_LAYERS

# Half of the samples are of the hint, so that twice the steps show as many of sorting.
_STEPS = {"cpu": 6000, "h200": 30_000}


def _hinted(task: str, published: str) -> Arm:
    return Arm(
        task,
        f"hint: {task}",
        {"data.task.hints": ({"task": task, "share": 0.5},)},
        published,
        at_scale={scale: {"phase.steps": 2 * steps} for scale, steps in _STEPS.items()},
    )


_COMMON = {"data.task.name": "sort"}

EXPERIMENT = ExperimentDefinition(
    name="sort_hints",
    question="Sorting: does an auxiliary task mixed in carry it to longer inputs?",
    source="Awasthi and Gupta 2023, arXiv 2310.00726",
    published="trained on lengths up to 20; accuracy at 100",
    tuning=(
        "steps and trained lengths of the CPU scale are from a pilot run of the plain arm with "
        "the first seed, scored on selection samples of trained lengths alone: up to 4, .98 were "
        "right after 5,000 steps, up to 3 .99 after 4,000. Arms are matched on samples of "
        "sorting: hinted ones take twice the steps, and their schedule of the learning rate is as "
        "much longer"
    ),
    arms=(
        Arm("plain", "sorting alone", {}, "below 1 %"),
        _hinted("successor", "above 92 %"),
        _hinted("count_of", "differs much from hint to hint"),
        _hinted("fill", "differs much from hint to hint"),
    ),
    claims=(
        Claim("successor", "plain", margin=0.1),
        Claim("fill", "plain", margin=0.1),
    ),
    scales={
        "cpu": {
            **_COMMON,
            "data.task.lengths": (1, 3),
            "data.task.samples": 400_000,
            "phase.layout.smallest_bucket": 16,
            "phase.layout.largest_bucket": 16,
            "phase.tokens_per_step": 1024,
            "phase.steps": _STEPS["cpu"],
            "train.eval_every": 1000,
            "train.checkpoint_every": 1000,
            "eval.answers.lengths": (1, 6, 1),
        },
        "h200": {
            **_COMMON,
            **FOUR_LAYERS,
            "data.task.lengths": (1, 20),
            "phase.layout.largest_bucket": 64,
            "phase.steps": _STEPS["h200"],
            "eval.answers.lengths": (10, 100, 10),
        },
    },
    left_out={"cpu": ("count_of", "fill")},
    reasons={
        "cpu": (
            "trained up to 3 of a hundred symbols, sorting alone is still right in three quarters "
            "at 4 to 6, so that a hint has little to add; the source trains up to 20 and tests 100"
        )
    },
)
