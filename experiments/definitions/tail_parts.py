"""TAIL traces of addition with and without each of their parts (arXiv 2507.13332)."""

from lengthwise.experiments.definition import Arm, Claim, Experiment
from lengthwise.experiments.definitions.model_sizes import FOUR_LAYERS

_PARTS = ("transition", "atomic", "fetcher")


def _without(part: str, label: str, published: str) -> Arm:
    kept = tuple(each for each in _PARTS if each != part)
    return Arm(f"no_{part}", label, {"data.task.format.tail_parts": kept}, published)


EXPERIMENT = Experiment(
    name="tail_parts",
    question="TAIL traces of addition: is each part needed at longer numbers?",
    source="TAIL, arXiv 2507.13332",
    published=(
        "a large pretrained model, fine-tuned; big-integer addition at small, medium and large "
        "sizes 97/92.5/86.5 % with whole traces; without fetcher 73.8 and 67.6 against 90.0 and "
        "84.4 at medium and large, mean over tasks"
    ),
    tuning=(
        "one setting for all arms; positions, trained lengths and steps of the CPU scale are from "
        "pilot runs of another seed, scored on samples of trained lengths alone: up to three "
        "digits without linear transition, the slowest arm, all were right after 9,000 steps with "
        "RoPE"
    ),
    arms=(
        Arm("whole", "whole trace", {}, "97/92.5/86.5 %"),
        _without("fetcher", "no fetcher", "73.8 and 67.6 % where the whole has 90.0 and 84.4"),
        _without("atomic", "no atomic state", "worse than the whole"),
        _without("transition", "no linear transition", "worse than the whole"),
    ),
    claims=tuple(Claim("whole", f"no_{part}", margin=0.05) for part in reversed(_PARTS)),
    scales={
        "cpu": {
            "data.task.name": "addition",
            "data.task.format.transforms": ("tail",),
            "data.task.lengths": (1, 3),
            "data.task.samples": 500_000,
            "model.positions.scheme": "rope",
            "phase.layout.smallest_bucket": 64,
            "phase.layout.largest_bucket": 128,
            "phase.tokens_per_step": 1024,
            "phase.steps": 10_000,
            "train.eval_every": 2000,
            "train.checkpoint_every": 2000,
            "eval.answers.lengths": (1, 6, 1),
        },
        "h200": {
            **FOUR_LAYERS,
            "data.task.name": "addition",
            "data.task.format.transforms": ("tail",),
            "data.task.lengths": (1, 20),
            "phase.layout.largest_bucket": 1024,
            "phase.tokens_per_step": 32_768,
            "eval.answers.lengths": (5, 40, 5),
        },
    },
    earlier={
        "cpu": (
            "trained up to two digits without positions, where two arms were under the gate and "
            "none had anything right beyond: contradicted, by the rule of then"
        )
    },
    reasons={
        "cpu": (
            "with RoPE no arm has a number of even one digit more right, so that nothing of what "
            "each part does there can be seen; without linear transition one of three seeds knew "
            ".961 in range. The source fine-tunes a large pretrained model"
        )
    },
)
