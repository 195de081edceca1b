"""Positions drawn from a longer range on tasks of the Chomsky hierarchy (Ruoss et al. 2023)."""

from experiments.definition import Arm, Claim, Experiment
from experiments.definitions.model_sizes import FOUR_LAYERS

# Task -> what the source reports for positions as they are, and for randomized ones.
_PUBLISHED = {
    "reverse_string": ("62", "95"),
    "bucket_sort": ("-", "-"),
    "missing_duplicate_string": ("-", "-"),
    "parity": ("at chance", "at chance"),
}
_LEARNED = {"cpu": 64, "h200": 2048}  # positions that are drawn from


def _arms(task: str) -> tuple[Arm, Arm]:
    common = {"data.task.name": task}
    plain, randomized = _PUBLISHED[task]
    return (
        Arm(f"{task}_plain", f"{task}, as they are", common, plain),
        Arm(
            f"{task}_randomized",
            f"{task}, randomized",
            common,
            randomized,
            at_scale={
                scale: {"model.positions.randomized": count} for scale, count in _LEARNED.items()
            },
        ),
    )


EXPERIMENT = Experiment(
    name="randomized_positions",
    question="Chomsky tasks: do positions drawn from a longer range carry them to longer inputs?",
    source="Ruoss et al. 2023, arXiv 2305.16843; tasks of Deletang et al. 2023, arXiv 2207.02098",
    published=(
        "encoders, trained on lengths up to 40, 10,000 steps of 128 samples, positions drawn from "
        "2,048, tested up to 100; token accuracy in percent, 12.0 more on average over 15 tasks"
    ),
    tuning=(
        "one setting for all arms of a scale; the tasks and trained lengths of the CPU scale were "
        "chosen by the selection samples at trained lengths"
    ),
    arms=tuple(arm for task in _PUBLISHED for arm in _arms(task)),
    claims=tuple(
        Claim(f"{task}_randomized", f"{task}_plain", margin=0.05)
        for task in ("reverse_string", "bucket_sort", "missing_duplicate_string")
    ),
    scales={
        "cpu": {
            "data.task.lengths": (1, 8),
            "data.task.samples": 100_000,
            "model.positions.scheme": "rope",
            "phase.steps": 1000,
            "phase.layout.smallest_bucket": 32,
            "phase.layout.largest_bucket": 32,
            "eval.answers.lengths": (2, 14, 2),
        },
        "h200": {
            **FOUR_LAYERS,
            "data.task.lengths": (1, 40),
            "model.positions.scheme": "rope",
            "phase.steps": 10_000,
            "phase.layout.largest_bucket": 128,
            "eval.answers.lengths": (10, 100, 10),
        },
    },
    left_out={
        "cpu": (
            "missing_duplicate_string_plain",
            "missing_duplicate_string_randomized",
            "parity_plain",
            "parity_randomized",
        )
    },
)
