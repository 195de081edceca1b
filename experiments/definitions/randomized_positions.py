"""Positions drawn from a longer range on tasks of the Chomsky hierarchy (Ruoss et al. 2023)."""

from lengthwise.experiments.definition import Arm, Claim, ExperimentDefinition
from lengthwise.experiments.definitions.model_sizes import FOUR_LAYERS

_TASKS = ("reverse_string", "bucket_sort", "missing_duplicate_string", "parity")
_DRAWN_FROM = {"cpu": 48, "h200": 2048}  # so many positions


def _arms(task: str) -> tuple[Arm, Arm]:
    common = {"data.task.name": task}
    return (
        Arm(f"{task}_plain", f"{task}, as they are", common, "-"),
        Arm(
            f"{task}_randomized",
            f"{task}, randomized",
            common,
            "12.0 points above, mean over 15 tasks",
            at_scale={
                scale: {"model.positions.randomized": count} for scale, count in _DRAWN_FROM.items()
            },
        ),
    )


EXPERIMENT = ExperimentDefinition(
    name="randomized_positions",
    question="Chomsky tasks: do positions drawn from a longer range carry them to longer inputs?",
    source="Ruoss et al. 2023, arXiv 2305.16843; tasks of Deletang et al. 2023, arXiv 2207.02098",
    published=(
        "encoders, trained on lengths up to 40, 10,000 steps of 128 samples, positions drawn from "
        "2,048, tested up to 100; token accuracy 12.0 points higher on average over 15 tasks"
    ),
    tuning=(
        "one setting for all arms of a scale; steps and trained lengths of the CPU scale are from "
        "pilot runs, scored on selection samples of trained lengths alone: up to 6, drawn from 64 "
        "positions, .93 of reverse_string were right after 2,500 steps"
    ),
    arms=tuple(arm for task in _TASKS for arm in _arms(task)),
    claims=tuple(
        Claim(f"{task}_randomized", f"{task}_plain", margin=0.05)
        for task in ("reverse_string", "bucket_sort", "missing_duplicate_string")
    ),
    scales={
        "cpu": {
            "data.task.lengths": (1, 5),
            "data.task.samples": 270_000,
            "model.positions.scheme": "rope",
            "phase.tokens_per_step": 1024,
            "phase.steps": 4000,
            "train.eval_every": 1000,
            "train.checkpoint_every": 1000,
            "phase.layout.smallest_bucket": 16,
            "phase.layout.largest_bucket": 16,
            "eval.answers.lengths": (1, 10, 1),
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
