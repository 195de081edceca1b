"""Scorer output: scores of single documents or prompts at each length.

A `Curve` is one metric of one scorer under one method and one control. It holds the scores of
single units (a document, a prompt), not means: so every statistic of the card (effective length,
areas, differences between models, ...) comes from it by one code path, with intervals by cluster
and in pairs.
"""

from __future__ import annotations

import enum
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

PLAIN_CONTROL = "plain"  # of the score itself; a control is a curve of its own


class Group(enum.StrEnum):
    """Subject of a scorer."""

    LANGUAGE = "language"  # loss of held-out text
    RETRIEVAL = "retrieval"  # something that stands in the input is asked for
    SYNTHESIS = "synthesis"  # the answer follows from much of the input


@dataclass(frozen=True, eq=False)
class Curve:
    """Scores of the same N units at K lengths.

    The score at a length is sum(sums) / sum(counts) over units: for nats, summed nats over tokens;
    for accuracy, right answers over ones. Unit i at one length and at another are resampled
    together; where they are independent (prompts drawn anew at each length) that is valid too.

    Raises ValueError where shapes, order or numbers don't fit.
    """

    scorer: str  # "same_target_nll", "passkey"
    metric: str  # "nll", "accuracy", "margin"
    group: Group
    method: str  # "plain", "ntk", ... as eval.methods has them
    control: str  # PLAIN_CONTROL, or "no_context", "truncated", ...
    primary: bool  # what the card judges the scorer by: one metric of each
    unit: str  # of the score: "nats/token", "accuracy"
    higher_is_better: bool
    lengths: tuple[int, ...]  # K, ascending, in tokens
    sums_NK: np.ndarray  # float64
    counts_NK: np.ndarray  # float64, positive: targets; ones where a unit is one trial
    clusters_N: np.ndarray  # int64: near-duplicate documents share one; prompts: 0 .. N - 1
    # Two curves of equal population are differences of the same units, in the same order: a
    # fingerprint of documents and targets, or of task, seed and tokenizer. See `population`.
    population: str
    chance_K: np.ndarray | None = None  # score of a guess at each length; None: it has none
    best: float | None = None  # the perfect score, beside chance; None: it has none
    # Loss: every length scores the same targets, so that a gain from length is one of context.
    same_targets: bool = False
    # Loss: what it is judged against instead of the plain model at L_train: 0 of an excess.
    baseline: float | None = None
    dispersion: str = ""  # low | mid | high, of tasks: how hard what is asked for is to find
    scope: str = ""  # low | mid | high, of tasks: how much of it there is
    seconds: float = 0.0  # spent on scoring it; 0 where the pass of another curve gave it too

    def __post_init__(self) -> None:
        units, places = self.sums_NK.shape
        if self.counts_NK.shape != (units, places) or places != len(self.lengths):
            raise ValueError(
                f"{self.scorer}: {self.sums_NK.shape} sums, {self.counts_NK.shape} counts, "
                f"{len(self.lengths)} lengths"
            )
        if self.clusters_N.shape != (units,):
            raise ValueError(f"{self.scorer}: {self.clusters_N.shape} clusters of {units} units")
        if list(self.lengths) != sorted(set(self.lengths)) or not places or self.lengths[0] < 1:
            raise ValueError(f"{self.scorer}: lengths {self.lengths} are not ascending")
        if not (np.isfinite(self.sums_NK).all() and (self.counts_NK > 0).all()):
            raise ValueError(f"{self.scorer}: a sum is not finite or a count not positive")
        if (self.chance_K is None) != (self.best is None):
            raise ValueError(f"{self.scorer}: chance and best go together")
        if self.chance_K is not None and self.chance_K.shape != (places,):
            raise ValueError(f"{self.scorer}: {self.chance_K.shape} chances of {places} lengths")

    @classmethod
    def of_loss(cls, *, clusters_N: np.ndarray, **fields: Any) -> Curve:
        """A primary curve of nats/token, lower is better. fields: those without a value here."""
        preset: dict[str, Any] = {
            "metric": "nll",
            "group": Group.LANGUAGE,
            "control": PLAIN_CONTROL,
            "primary": True,
            "unit": "nats/token",
            "higher_is_better": False,
        }
        return cls(clusters_N=clusters_N.astype(np.int64), **(preset | fields))

    @classmethod
    def of_share(cls, *, sums_NK: np.ndarray, **fields: Any) -> Curve:
        """A primary curve of right answers, higher is better, over prompts, each a cluster of its
        own. fields: those without a value here; where there is a chance, the best share is 1."""
        preset: dict[str, Any] = {
            "metric": "accuracy",
            "control": PLAIN_CONTROL,
            "primary": True,
            "unit": "accuracy",
            "higher_is_better": True,
            "clusters_N": np.arange(len(sums_NK)),
            "best": None if fields.get("chance_K") is None else 1.0,
        }
        return cls(sums_NK=sums_NK, **(preset | fields))

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Identity within an evaluation: scorer, metric, method, control."""
        return self.scorer, self.metric, self.method, self.control


@dataclass(frozen=True, eq=False)
class Grid:
    """Scores over lengths and a second axis, for a heat map.

    The card draws it and judges nothing by it; its mean over the axis is a `Curve` of its own.
    """

    scorer: str
    metric: str
    method: str
    axis: str  # of the rows: "depth (share of the input)", "distance, tokens"
    places: tuple[float, ...]  # D, of the rows
    lengths: tuple[int, ...]  # K, in tokens
    scores_NDK: np.ndarray  # float64, one trial each; NaN where a cell can't be (distance > length)
    unit: str
    chance: float | None = None
    best: float | None = None

    def __post_init__(self) -> None:
        if self.scores_NDK.shape[1:] != (len(self.places), len(self.lengths)):
            raise ValueError(f"{self.scorer}: a grid of {self.scores_NDK.shape}")


@dataclass(frozen=True)
class ScorerResult:
    """Curves and grids of one scorer, with what neither shows."""

    curves: tuple[Curve, ...]
    grids: tuple[Grid, ...] = ()
    sentences: tuple[str, ...] = ()  # beside the curves: "critical complexity: 2 facts"
    left_out: tuple[str, ...] = ()  # what could not be scored and why


def population(*parts: object) -> str:
    """Fingerprint of the scored units: equal parts give equal strings; arrays count by value."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(json.dumps(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]
