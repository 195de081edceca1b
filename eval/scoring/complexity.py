"""Critical complexity of the families of tasks that come in levels; see eval/statistics/scylla.py.

In distribution are inputs of the longest tested length up to L_train, out of it those of the
longest tested length; the level is the number of facts that an answer takes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lengthwise.eval.config import EvalConfig
from lengthwise.eval.statistics.bootstrap import resampling
from lengthwise.eval.statistics.curves import PLAIN_CONTROL, Curve
from lengthwise.eval.statistics.scylla import scylla

# Family -> its tasks by level.
FAMILIES = {"supporting facts": {"one_fact": 1, "two_facts": 2, "three_facts": 3}}
_METRIC = "accuracy"


def complexity(curves: Sequence[Curve], l_train: int, config: EvalConfig) -> list[str]:
    """Estimates critical complexity: a sentence for each method and family of which two levels or
    more were scored within L_train and beyond."""
    plain = {
        (curve.method, curve.scorer): curve
        for curve in curves
        if curve.control == PLAIN_CONTROL and curve.metric == _METRIC
    }
    sentences = []
    for family, levels in FAMILIES.items():
        for method in dict.fromkeys(curve.method for curve in curves):
            scored = {
                level: plain[method, task]
                for task, level in levels.items()
                if (method, task) in plain
            }
            sentences += _sentence(family, method, scored, l_train, config)
    return sentences


def _sentence(
    family: str, method: str, scored: dict[int, Curve], l_train: int, config: EvalConfig
) -> list[str]:
    """One sentence on the curves by level; empty: too few levels or lengths."""
    if len(scored) < 2:
        return []
    lengths = set.intersection(*(set(curve.lengths) for curve in scored.values()))
    near = max((length for length in lengths if length <= l_train), default=None)
    far = max((length for length in lengths if length > l_train), default=None)
    if near is None or far is None:
        return []
    inside_NK, outside_NK = (
        np.stack([_shares(curve, length) for curve in scored.values()], axis=1)
        for length in (near, far)
    )
    result = scylla(
        list(scored),
        inside_NK,
        outside_NK,
        **resampling(config),
    )
    return [f"{family} ({method}), {far} tokens against {near}: {result}"]


def _shares(curve: Curve, length: int) -> np.ndarray:
    """[N] share of each prompt's parts that are right."""
    k = curve.lengths.index(length)
    return curve.sums_NK[:, k] / curve.counts_NK[:, k]
