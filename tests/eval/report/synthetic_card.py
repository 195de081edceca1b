"""Invented evaluations for the card, with the shape of real ones. Test-only."""

from __future__ import annotations

import dataclasses

import numpy as np

from lengthwise.eval.losses.curve_file import Evaluation
from lengthwise.eval.losses.results import RunIdentity
from lengthwise.eval.prompts.prompt import Control
from lengthwise.eval.statistics.curves import (
    PLAIN_CONTROL,
    Curve,
    Grid,
    Group,
    ScorerResult,
    population,
)

L_TRAIN = 128
LENGTHS = (64, 128, 256, 512, 1024)
PROMPTS = 40
DOCUMENTS = 60
# task -> (group, dispersion, scope, probability of a right answer at each length)
TASKS = {
    "passkey": (Group.RETRIEVAL, "low", "low", (1.0, 0.98, 0.7, 0.4, 0.25)),
    "several_keys": (Group.RETRIEVAL, "mid", "low", (0.9, 0.8, 0.3, 0.25, 0.25)),
    "common_word": (Group.SYNTHESIS, "low", "high", (0.25, 0.25, 0.25, 0.25, 0.25)),
}
# method -> NLL at each length
LOSSES = {
    "plain": (1.50, 1.40, 1.62, 2.20, 2.60),
    "ntk": (1.50, 1.40, 1.375, 1.372, 1.395),
    "lambda": (1.50, 1.40, 1.40, 1.40, 1.40),
}


def document_curve(nll, *, method="plain", scorer="same_target_nll", seed=0, noise=0.02):
    """Documents differ by much, methods and lengths within a document by `noise`."""
    rng = np.random.default_rng(9)
    level_N = rng.normal(0, 0.3, DOCUMENTS)
    noise_NK = np.random.default_rng([seed, *method.encode()]).normal(
        0, noise, (DOCUMENTS, len(LENGTHS))
    )
    counts_NK = np.full((DOCUMENTS, len(LENGTHS)), 32.0)
    score_NK = np.asarray(nll) + level_N[:, None] + noise_NK
    if method != "plain":  # in range every method is the plain model
        score_NK[:, :2] = (np.asarray(LOSSES["plain"]) + level_N[:, None])[:, :2]
    return Curve(
        scorer=scorer,
        metric="nll",
        group=Group.LANGUAGE,
        method=method,
        control=PLAIN_CONTROL,
        primary=True,
        unit="nats/token",
        higher_is_better=False,
        lengths=LENGTHS,
        sums_NK=score_NK * counts_NK,
        counts_NK=counts_NK,
        clusters_N=np.arange(DOCUMENTS),
        population=population("documents"),
        same_targets=scorer == "same_target_nll",
        seconds=4.0,
    )


def task_curve(name, odds, *, control="plain", seed=0, prompts=PROMPTS, lengths=LENGTHS):
    group, dispersion, scope = TASKS[name][:3] if name in TASKS else (Group.RETRIEVAL, "low", "low")
    rng = np.random.default_rng([seed, *name.encode(), *str(control).encode()])
    return Curve(
        scorer=name,
        metric="accuracy",
        group=group,
        method="plain",
        control=str(control),
        primary=True,
        unit="accuracy",
        higher_is_better=True,
        lengths=lengths,
        sums_NK=(rng.random((prompts, len(lengths))) < np.asarray(odds)).astype(float),
        counts_NK=np.ones((prompts, len(lengths))),
        clusters_N=np.arange(prompts),
        population=population(name),
        chance_K=np.full(len(lengths), 0.25),
        best=1.0,
        dispersion=dispersion,
        scope=scope,
        seconds=1.5,
    )


def evaluation(name="quickstart", *, seed=0, training="a", worse=0.0, **changes) -> Evaluation:
    """worse: nats/token and share of prompts by which it does worse beyond L_train."""
    beyond = np.array(LENGTHS) > L_TRAIN
    curves = [
        document_curve(np.array(nll) + worse * beyond, method=method, seed=seed)
        for method, nll in LOSSES.items()
    ]
    curves.append(document_curve(LOSSES["plain"], scorer="position_nll", seed=seed))
    for task, (group, _, _, odds) in TASKS.items():
        easier = {
            Control.PLAIN: np.array(odds) - worse * beyond,
            Control.NO_CONTEXT: np.full(len(LENGTHS), 0.25),
            Control.TRUNCATED: np.where(beyond, 0.3, odds),
        }
        if group is Group.RETRIEVAL:
            easier |= {
                Control.DISTANCE_0: np.full(len(LENGTHS), 0.95),
                Control.EASY_FILLER: np.array(odds),
            }
        curves += [task_curve(task, p, control=c, seed=seed) for c, p in easier.items()]
    rng = np.random.default_rng(0)
    trials = (rng.random((20, 5, len(LENGTHS))) < np.linspace(0.9, 0.3, 5)[:, None]).astype(float)
    trials[:, 4, 0] = np.nan
    grid = Grid(
        scorer="needle_depth",
        metric="accuracy",
        method="plain",
        axis="depth, share of the input",
        places=(0.0, 0.25, 0.5, 0.75, 1.0),
        lengths=LENGTHS,
        scores_NDK=trials,
        unit="accuracy",
        chance=0.25,
        best=1.0,
    )
    made = Evaluation(
        name=name,
        seed=seed,
        training=training,
        identity=RunIdentity("3f1c0e9ab2d84c55", 2000, L_TRAIN, "rope"),
        tokens={"tokenizer": "bytes", "vocab_size": 257, "end_of_text": 256},
        length_p95=120,
        targets_by_length={16: 50, 32: 400, 64: 900, 128: 2400},
        scored=ScorerResult(
            tuple(curves),
            (grid,),
            ("Critical complexity: 2 facts.",),
            ("eval.tasks survey: no prompt fits 64 tokens",),
        ),
        seconds={"training": 300.0, "scores during training": 25.0, "scoring": 60.0},
    )
    return dataclasses.replace(made, **changes)
