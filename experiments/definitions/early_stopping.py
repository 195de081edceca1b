"""Whether longer inputs get worse while the training loss falls, and what stopping early saves."""

from lengthwise.experiments.definition import Arm, Claim, ExperimentDefinition
from lengthwise.experiments.definitions.model_sizes import FOUR_LAYERS

_BEST = {"eval.checkpoint": "best"}
_PATIENCE = {"stopping.patience": 6}

EXPERIMENT = ExperimentDefinition(
    name="early_stopping",
    question="Is a checkpoint chosen by longer inputs better at still longer ones than the last?",
    source="the premise of early stopping by a score beyond the trained lengths (docs/design.md)",
    published="no numbers: it is a premise that this project builds on, tested here",
    tuning=(
        "the best checkpoint is that of the selection samples, fresh ones of lengths beyond the "
        "trained ones that are not among the tested lengths; no tested length chooses anything"
    ),
    arms=(
        Arm("last", "last checkpoint", {}, "-"),
        Arm("best", "best checkpoint", _BEST, "-"),
        Arm("stopped", "best, stopped early", {**_BEST, **_PATIENCE}, "-"),
    ),
    claims=(
        Claim("best", "last", margin=0.02),
        Claim("stopped", "last", margin=0.02),
    ),
    scales={
        "cpu": {
            "data.task.name": "bucket_sort",
            "data.task.lengths": (1, 8),
            "data.task.samples": 120_000,
            "phase.tokens_per_step": 1024,
            "phase.steps": 1400,
            "phase.layout.smallest_bucket": 16,
            "eval.answers.lengths": (8, 24, 8),
            "eval.answers.selection_lengths": (10, 14, 4),
            "train.eval_every": 50,
            "train.checkpoint_every": 250,
        },
        "h200": {
            **FOUR_LAYERS,
            "data.task.name": "sort",
            "data.task.lengths": (1, 20),
            "phase.layout.largest_bucket": 64,
            "eval.answers.lengths": (20, 80, 20),
            "eval.answers.selection_lengths": (25, 35, 10),
            "train.eval_every": 500,
        },
    },
    earlier={
        "cpu": (
            "3 seeds and a patience of 3 scores, with which the arm that is stopped early had .984 "
            "right at trained lengths, under the gate; the best checkpoint was .076 above the last "
            "one, -.213 to .364: not at this scale"
        )
    },
    reasons={
        "cpu": (
            "the mean points the way of the premise, .058 up from the last checkpoint to the best, "
            "and stopping early takes 16 % less compute for .012 less; but of ten seeds some gain "
            "and some lose, by more than that"
        )
    },
)
