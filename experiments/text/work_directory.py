"""The row of a finished run, from its work directory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lengthwise.eval.card.card import CARD
from lengthwise.eval.losses.curve_file import load_evaluation
from lengthwise.eval.losses.methods import PLAIN
from lengthwise.eval.losses.results import BOUNDARY_NLL, SAME_TARGET_NLL, Results, load_results
from lengthwise.eval.statistics.bootstrap import ClusterBootstrap
from lengthwise.eval.statistics.curves import PLAIN_CONTROL, Curve
from lengthwise.experiments.text.measures import BOUNDARY
from lengthwise.experiments.text.row import Point, Row, Scores
from lengthwise.train.metrics.writer import read_rows

DURING = "target_nll"  # scorer of eval.during, at L/4 and L
SHORT = "short_documents"
_BOOTSTRAP: dict[str, Any] = {"samples": 1000, "confidence": 0.95, "seed": 0}


def row_of(workdir: Path, length: int, scored: bool, **about: Any) -> Row:
    """The row of a finished run.

    Args:
      length: L of the grid.
      scored: whether it was scored, not trained alone.
      about: the fields that the work directory doesn't hold.
    """
    curve = tuple(points(read_rows(workdir / "metrics.jsonl"), length))
    seconds = curve[-1].seconds
    if scored:
        seconds = sum(load_evaluation(workdir).seconds.values())
    return Row(
        length=length,
        hours=seconds / 3600,
        curve=curve,
        scores=scores(workdir, length) if scored else None,
        **about,
    )


def scores(workdir: Path, length: int) -> Scores:
    """The scores of a run that was scored. length: L of the grid."""
    evaluation = load_evaluation(workdir)
    curves = {
        (curve.scorer, curve.method): curve
        for curve in evaluation.scored.curves
        if curve.control == PLAIN_CONTROL and curve.primary
    }
    plain = curves[SAME_TARGET_NLL, PLAIN]
    short = curves.get((SHORT, PLAIN))
    useful, safe = _lengths(workdir)
    return Scores(
        corpus=evaluation.identity.corpus_fingerprint,
        targets=plain.population,
        nll={
            method: dict(zip(map(str, curve.lengths), _means(curve), strict=True))
            for (scorer, method), curve in curves.items()
            if scorer == SAME_TARGET_NLL
        },
        gain=gain(plain, length // 4, length),
        useful=useful,
        safe=safe,
        behind=behind(load_results(workdir / "eval" / "results.json")),
        short=None if short is None else _means(short)[0],
    )


def _means(curve: Curve) -> list[float]:
    means: list[float] = (curve.sums_NK.sum(axis=0) / curve.counts_NK.sum(axis=0)).tolist()
    return means


def gain(curve: Curve, short: int, long: int) -> tuple[float, float, float]:
    """Loss at `short` minus loss at `long`, with its interval by cluster of documents."""
    k, n = curve.lengths.index(short), curve.lengths.index(long)
    bootstrap = ClusterBootstrap(curve.clusters_N, **_BOOTSTRAP)
    estimate = bootstrap.ratio(curve.sums_NK[:, k] - curve.sums_NK[:, n], curve.counts_NK[:, k])
    return estimate.value, estimate.low, estimate.high


def behind(results: Results) -> dict[str, dict[str, float]]:
    """Loss by mask up to BOUNDARY tokens behind a boundary, and over all; {} without boundaries."""
    losses: dict[str, dict[str, float]] = {}
    for row in results.select(metric=BOUNDARY_NLL):
        if row.context_from == 1 and row.context == row.l_train:
            losses.setdefault(row.method, {})["all"] = row.value
    for mask in losses:
        near = [
            row
            for row in results.select(metric=BOUNDARY_NLL, method=mask)
            if row.context <= BOUNDARY and (row.context_from, row.context) != (1, row.l_train)
        ]
        targets = [row.n_targets for row in near]
        losses[mask][str(BOUNDARY)] = float(
            np.average([row.value for row in near], weights=targets)
        )
    return losses


def _lengths(workdir: Path) -> tuple[int, int]:
    """(useful, safe) length of the plain model, tokens; 0: shorter than all that were tested."""
    (entry, *_) = json.loads((workdir / CARD).read_bytes())["entries"]
    (judged,) = (
        each
        for each in entry["judgements"]
        if each["scorer"] == SAME_TARGET_NLL and each["method"] == PLAIN
    )
    return judged["useful"]["tokens"] or 0, judged["holds"]["tokens"] or 0


def points(rows: Sequence[Mapping[str, Any]], length: int) -> list[Point]:
    """The training curve, from the rows of metrics.jsonl; every step has its row.

    The loss at 2 L is on other targets, in documents that have room for it; it is there where L is
    the training length.
    """
    curve: list[Point] = []
    flops = seconds = 0.0
    tokens, losses = 0, list[float]()
    for row in rows:
        if row["kind"] == "train":
            flops += row["flops_per_second"] * row["seconds"]
            seconds += row["seconds"]
            tokens = int(row["tokens"])
            losses.append(row["loss"])
        elif row["kind"] == "eval":
            scores = {
                name.partition("@")[2]: float(score["value"])
                for name, score in row["scores"].items()
                if name.startswith(f"{DURING}@")
            }
            if row["score_context"] == 2 * length:
                scores[str(2 * length)] = float(row["score"])
            loss = float(np.mean(losses)) if losses else curve[-1].loss
            curve.append(Point(int(row["step"]), tokens, flops, seconds, loss, scores))
            losses = []
    return curve
