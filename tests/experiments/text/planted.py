"""A grid whose runs are planted: the value of each arm and seed is known. Test-only."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np

from lengthwise.configs import base
from lengthwise.experiments.text.design import RunGrid, TextArm, TextClaim, TextQuestion
from lengthwise.experiments.text.measures import FORMATION, nll, until_loss
from lengthwise.experiments.text.row import Point, Row, Scores
from lengthwise.experiments.text.run import Run

L = 64
CHUNKS = {"phase.layout.name": "concat_and_chunk", "phase.curriculum.name": "natural"}
WORTH = TextQuestion(
    "worth",
    "Which is better?",
    "none",
    "nothing",
    "a plant",
    (TextClaim("good", "bad", nll(1), 0.1), TextClaim("good", "bad", nll(2), 0.1)),
    seeds=3,
)
WHEN = replace(
    WORTH,
    name="when",
    claims=(
        TextClaim("good", "bad", FORMATION, 1.0),
        TextClaim("good", "bad", until_loss("flops"), 1.0),
    ),
)
GRID = RunGrid(
    name="plant",
    scale="cpu",
    base=base.get_config,
    common={
        "phase.layout.smallest_bucket": 16,
        "phase.layout.largest_bucket": L,
        "eval.ratios": (1.0, 2.0),
        "eval.targets_per_row": 4,
        "eval.targets_per_block": 4,
    },
    length=L,
    baseline="bad",
    arms=(
        TextArm("good", "the good one", {}, "one"),
        TextArm("bad", "the bad one", CHUNKS, "two"),
    ),
    questions=(WORTH, WHEN),
    rates={"one": (1e-3, 2e-3), "two": (1e-3,)},
)


def curve(losses, gain=0.2, forms_at=0, flops_a_token=1.0, beyond=None):
    """Points of 100 tokens each, with a selection loss each; the gain is there from a point on."""
    beyond = losses if beyond is None else beyond
    return tuple(
        Point(
            step=k + 1,
            tokens=100 * (k + 1),
            flops=100.0 * flops_a_token * (k + 1),
            seconds=float(k + 1),
            loss=5.0 - k,
            nll={str(L // 4): x + (gain if k >= forms_at else 0.0), str(L): x, str(2 * L): y},
        )
        for k, (x, y) in enumerate(zip(losses, beyond, strict=True))
    )


def row_for(run: Run, loss: float, **changes) -> Row:
    """The row of a run that ends at a loss."""
    fields = {
        "arm": run.arm.name,
        "seed": run.seed,
        "purpose": run.purpose,
        "rate": run.rate,
        "settings": run.settings,
        "code": "0",
        "machine": "a machine",
        "length": L,
        "hours": 0.5,
        "curve": curve([loss + 1, loss + 0.5, loss]),
    }
    scores = {
        "corpus": "corpus-1",
        "targets": "targets-1",
        "nll": {"plain": {str(n): loss for n in (L // 4, L, 2 * L, 4 * L)}},
        "gain": (0.2, 0.1, 0.3),
        "useful": L,
        "safe": 2 * L,
        "behind": {},
        "short": loss + 1,
    }
    of_scores = {name: changes.pop(name, value) for name, value in scores.items()}
    return Row(**{"scores": Scores(**of_scores), **fields, **changes})


def noise(run: Run) -> float:
    """Of a hundredth, the same for equal runs."""
    seed = zlib.crc32(f"{run.arm.name} {run.seed} {run.rate}".encode())
    return 0.01 * float(np.random.default_rng(seed).normal())


def losses(run: Run) -> float:
    """2 for the good arm, 3 for the bad one, 0.1 more for every thousandth off a rate of 1e-3."""
    return (2.0 if run.arm.name == "good" else 3.0) + 100 * (run.rate - 1e-3) + noise(run)
