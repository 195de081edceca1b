"""Dropout, L1 and L2 beyond the trained lengths, over one epoch and over many."""

from collections.abc import Mapping

from lengthwise.experiments.definition import Arm, Claim, ExperimentDefinition
from lengthwise.experiments.definitions.model_sizes import FOUR_LAYERS

_OFF = {"model.dropout": 0.0, "optimizer.l2": 0.0, "optimizer.l1": 0.0}
# Both decays are decoupled, as in AdamW, and act on each matrix.
_KINDS = {
    "none": ("no regularization", {}),
    "dropout": ("dropout 0.1", {"model.dropout": 0.1}),
    "l2": ("L2 0.1", {"optimizer.l2": 0.1}),
    "l1": ("L1 0.001", {"optimizer.l1": 1e-3}),
}
_SOURCE = (
    "One Epoch (Komatsuzaki 2019, arXiv 1906.06669) against the usual remedy for overfitting, as "
    "Varis and Bojar 2021 (arXiv 2109.07276) name it for lengths"
)
_PUBLISHED = (
    "One Epoch: language models of text, loss at trained lengths: within one epoch nothing is "
    "overfitted and regularization only slows training, 1.9 to 3.3 times faster without. Varis and "
    "Bojar: models overfit to the lengths of their data; against overfitting dropout and L2 are "
    "usual. Neither has numbers of these by length"
)
_TUNING = (
    "none of the strengths, which are common ones, the same at both numbers of epochs; the samples "
    "of the many epochs at the CPU scale were chosen so that the arm without regularization passes "
    "the gate, by a pilot run of another seed on selection samples of trained lengths alone: all "
    "right after 500 steps of 2,048 tokens"
)
_CPU = {
    "data.task.name": "bucket_sort",
    "data.task.lengths": (1, 10),
    "phase.tokens_per_step": 1024,
    "phase.steps": 1000,
    "phase.layout.smallest_bucket": 16,
    "eval.answers.lengths": (5, 40, 5),
}
_H200 = {
    **FOUR_LAYERS,
    "data.task.name": "bucket_sort",
    "data.task.lengths": (1, 40),
    "phase.layout.largest_bucket": 128,
    "phase.steps": 10_000,
    "eval.answers.lengths": (20, 160, 20),
}


def _experiment(
    name: str,
    question: str,
    published: str,
    of_none: str,
    samples: Mapping[str, int],
    reasons: Mapping[str, str],
) -> ExperimentDefinition:
    """of_none: what the source has for training without; samples: by scale, all there are."""
    return ExperimentDefinition(
        name=name,
        question=question,
        source=_SOURCE,
        published=f"{_PUBLISHED}. {published}",
        tuning=_TUNING,
        arms=tuple(
            Arm(kind, label, {**_OFF, **changes}, of_none if kind == "none" else "-")
            for kind, (label, changes) in _KINDS.items()
        ),
        claims=tuple(Claim(kind, "none", margin=0.02) for kind in _KINDS if kind != "none"),
        scales={
            scale: {**changes, "data.task.samples": samples[scale]}
            for scale, changes in (("cpu", _CPU), ("h200", _H200))
        },
        earlier={
            "cpu": (
                "3 seeds tested up to twice the longest trained length, where 94 % and more of "
                "every arm were right and nothing was told apart: inconclusive"
            )
        },
        reasons=reasons,
    )


EXPERIMENTS = (
    _experiment(
        "regularization_one_epoch",
        "In one epoch, does regularization help beyond the trained lengths?",
        "The claims are the remedy's: where they are contradicted, One Epoch is right about "
        "lengths too",
        "as good, says One Epoch",
        {"cpu": 90_000, "h200": 2_000_000},
        {
            "cpu": (
                "the means of all four arms lie within .01 of each other, as One Epoch has it, but "
                "six seeds know a difference to .14 or .19 only, and what counts is .02"
            )
        },
    ),
    _experiment(
        "regularization_many_epochs",
        "In many epochs, does regularization help beyond the trained lengths?",
        "Here both say that it helps",
        "worse, say both",
        {"cpu": 4_000, "h200": 20_000},
        {
            "cpu": (
                "dropout alone is ahead, by .072, and L2 is .030 behind, but six seeds know the "
                "one to .22 and the other to .04 only, and what counts is .02"
            )
        },
    ),
)
