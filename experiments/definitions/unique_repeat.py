"""Copying and sorting words of different symbols against repeating ones (Zhou et al. 2023)."""

from collections.abc import Mapping

from lengthwise.experiments.definition import Arm, Changes, Claim, ExperimentDefinition
from lengthwise.experiments.definitions.model_sizes import FOUR_LAYERS, random_shift

_H200 = {
    **random_shift(512),
    **FOUR_LAYERS,
    "data.task.lengths": (1, 50),
    "phase.layout.largest_bucket": 128,
    "optimizer.learning_rate": 1e-3,
    "eval.answers.lengths": (10, 100, 10),
}


def _experiment(
    name: str,
    verb: str,
    tasks: Mapping[str, str],
    published: Mapping[str, str],
    cpu: Changes,
    tuned: str,
    earlier: Mapping[str, str] | None = None,
    reasons: Mapping[str, str] | None = None,
) -> ExperimentDefinition:
    """tasks: of `unique` and `repeat`; published: what the source has for each; tuned: what pilot
    runs gave."""
    return ExperimentDefinition(
        name=name,
        question=f"{verb}: are longer words right where symbols differ, and wrong where not?",
        source="Zhou et al. 2023, arXiv 2310.16028; numbers of Huang et al. 2024, arXiv 2410.02140",
        published=(
            "learned positions with a random shift, trained on lengths up to 50, 30,000 steps at "
            "most; exact match at 51-100 and 101-150"
        ),
        tuning=(
            "the same settings for both arms; trained lengths and steps of the CPU scale are from "
            f"pilot runs scored on samples of trained lengths alone: {tuned}"
        ),
        arms=(
            Arm(
                "unique", "all different", {"data.task.name": tasks["unique"]}, published["unique"]
            ),
            Arm("repeat", "repeating", {"data.task.name": tasks["repeat"]}, published["repeat"]),
        ),
        claims=(Claim("unique", "repeat", margin=0.1),),
        scales={"cpu": cpu, "h200": _H200},
        earlier=earlier or {},
        reasons=reasons or {},
    )


EXPERIMENTS = (
    _experiment(
        "unique_repeat",
        "Copying",
        {"unique": "copy_unique", "repeat": "copy_repeat"},
        {"unique": "~1.0 and .96-1.0", "repeat": ".15-.24 and 0"},
        cpu={
            **random_shift(64),
            "data.task.lengths": (1, 10),
            "data.task.samples": 500_000,
            "phase.layout.smallest_bucket": 32,
            "phase.layout.largest_bucket": 32,
            "phase.tokens_per_step": 1024,
            "phase.steps": 12_000,
            "train.eval_every": 2000,
            "train.checkpoint_every": 2000,
            "eval.answers.lengths": (2, 20, 2),
        },
        tuned=(
            "copying up to 10, .99 of the different symbols were right after 7,000 steps, of "
            "another seed"
        ),
        earlier={
            "cpu": (
                "trained up to 5, where neither arm copied further: of different symbols nothing "
                "was right beyond, of repeating ones .159, what is guessed of two: contradicted"
            )
        },
        reasons={
            "cpu": (
                "trained up to 10, neither arm copies far beyond: of different symbols .64 to .81 "
                "of the tokens are right at 12 and no whole answer, at 20 .14 to .25, where of two "
                "symbols guessing has half of them. The source trains up to 50, on five times as "
                "many lengths"
            )
        },
    ),
    _experiment(
        "sort_unique_repeat",
        "Sorting",
        # Of five symbols, so that hardly a word is without a pair.
        {"unique": "sort_unique", "repeat": "bucket_sort"},
        {"unique": "1.0 and .999", "repeat": "-"},
        cpu={
            **random_shift(64),
            "data.task.lengths": (1, 3),
            "data.task.samples": 400_000,
            "phase.layout.smallest_bucket": 16,
            "phase.layout.largest_bucket": 16,
            "phase.tokens_per_step": 1024,
            "phase.steps": 6000,
            "train.eval_every": 1000,
            "train.checkpoint_every": 1000,
            "eval.answers.lengths": (1, 6, 1),
        },
        tuned="sorting up to 4, .98 of both were right after 3,500 steps, of the first seed",
        reasons={
            "cpu": (
                "up to three of 200 symbols are sorted against five symbols, of which there are "
                "few words: what is told apart is the size of the alphabet as well. The source has "
                "no number for repeating words, and trains up to 50"
            )
        },
    ),
)
