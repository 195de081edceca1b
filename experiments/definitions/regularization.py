"""Dropout, L1 and L2 beyond the trained lengths, over one epoch and over many."""

from experiments.definition import Arm, Claim, Experiment
from experiments.definitions.model_sizes import FOUR_LAYERS

_OFF = {"model.dropout": 0.0, "optimizer.l2": 0.0, "optimizer.l1": 0.0}
# Both decays are decoupled, as in AdamW, and act on each matrix.
_KINDS = {
    "none": ("no regularization", {}),
    "dropout": ("dropout 0.1", {"model.dropout": 0.1}),
    "l2": ("L2 0.1", {"optimizer.l2": 0.1}),
    "l1": ("L1 0.001", {"optimizer.l1": 1e-3}),
}
_SAMPLES = {"cpu": 4_000, "h200": 20_000}  # of the many epochs
_SEEN = {"cpu": 90_000, "h200": 2_000_000}


def _arms(epochs: str, samples: dict[str, int], published: dict[str, str]) -> list[Arm]:
    return [
        Arm(
            f"{epochs}_{kind}",
            f"{epochs} epoch{'s' * (epochs == 'many')}, {label}",
            {**_OFF, **changes},
            published.get(kind, "-"),
            at_scale={scale: {"data.task.samples": count} for scale, count in samples.items()},
        )
        for kind, (label, changes) in _KINDS.items()
    ]


EXPERIMENT = Experiment(
    name="regularization",
    question="Does regularization help beyond the trained lengths, in one epoch and in many?",
    source=(
        "One Epoch (Komatsuzaki 2019, arXiv 1906.06669) against the usual remedy for overfitting, "
        "as Varis and Bojar 2021 (arXiv 2109.07276) name it for lengths"
    ),
    published=(
        "One Epoch: language models of text, loss at trained lengths: within one epoch nothing is "
        "overfitted and regularization only slows training, 1.9 to 3.3 times faster without. "
        "Varis and Bojar: models overfit to the lengths of their data; against overfitting dropout "
        "and L2 are usual. Neither has numbers of these by length. The claims are the remedy's: if "
        "those about one epoch are contradicted and those about many are reproduced, One Epoch is "
        "right about lengths too"
    ),
    tuning=(
        "none of the strengths, which are common ones, the same at both numbers of epochs; the "
        "samples of the many epochs at the CPU scale were chosen so that the arm without "
        "regularization passes the gate, by a pilot run of another seed on selection samples of "
        "trained lengths alone: all right after 500 steps of 2,048 tokens"
    ),
    arms=(
        *_arms("one", _SEEN, {"none": "as good, says One Epoch"}),
        *_arms("many", _SAMPLES, {"none": "worse, say both"}),
    ),
    claims=tuple(
        Claim(f"{epochs}_{kind}", f"{epochs}_none", margin=0.02)
        for epochs in ("one", "many")
        for kind in ("dropout", "l2", "l1")
    ),
    scales={
        "cpu": {
            "data.task.name": "bucket_sort",
            "data.task.lengths": (1, 10),
            "phase.tokens_per_step": 1024,
            "phase.steps": 1000,
            "phase.layout.smallest_bucket": 16,
            "eval.answers.lengths": (2, 20, 2),
        },
        "h200": {
            **FOUR_LAYERS,
            "data.task.name": "bucket_sort",
            "data.task.lengths": (1, 40),
            "phase.layout.largest_bucket": 128,
            "phase.steps": 10_000,
            "eval.answers.lengths": (10, 100, 10),
        },
    },
    reasons={
        "cpu": (
            "even without regularization 97 to 99 % are right beyond the trained lengths, in one "
            "epoch and in 16, so that little is left to gain, and seeds differ by more than the "
            "smallest difference that counts. What three seeds show points to neither side: in one "
            "epoch nothing helps, as One Epoch has it; in many, dropout alone is ahead"
        )
    },
)
