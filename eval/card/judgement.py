"""Judgements of the curves of one training: against chance, controls and the training length.

Every primary curve is brought to one scale, on which more is better: tasks to the share of the way
from chance to perfect, losses to the gain over truncation to L_train in nats/token (over the
curve's own baseline where it has one). What follows is the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lengthwise.eval.card.contestants import Contestant, Key
from lengthwise.eval.card.diagnosis import Finding, findings
from lengthwise.eval.card.lengths import (
    ABSOLUTE,
    RELATIVE,
    SAFE_NATS,
    Crossing,
    absolute_length,
    crossing,
    relative_length,
    safe_length,
    useful_length,
)
from lengthwise.eval.card.shape import Areas, Drop, areas, sudden_drops
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.losses.methods import PLAIN
from lengthwise.eval.statistics.bootstrap import Estimate, Resamples, resampling
from lengthwise.eval.statistics.curves import PLAIN_CONTROL, Curve
from lengthwise.eval.statistics.reach import Reach
from lengthwise.eval.statistics.resampling import chance_corrected, resample


@dataclass(frozen=True)
class Judgement:
    """Statistics of one primary curve. Lengths in tokens."""

    curve: Curve  # that of the first seed: what was scored, and how
    scores: tuple[Estimate, ...]  # as measured, at each length
    judged: tuple[Estimate, ...]  # on the common scale, see above
    # Tasks: keeps RELATIVE of the score at the shortest length. Losses: SAFE_NATS above L_train.
    holds: Reach
    # Tasks: ABSOLUTE of the way to perfect. Losses of the same targets: better than truncation.
    useful: Reach | None
    # The same thresholds by a monotone fit; None: there is nothing to hold, or no such threshold.
    holds_fit: Crossing | None
    useful_fit: Crossing | None
    areas: Areas | None  # of a task's score; None: a loss, whose zero means nothing
    drops: tuple[Drop, ...]
    controls: Mapping[str, tuple[Estimate, ...]]  # chance-corrected, by control; of a task
    findings: tuple[Finding, ...]  # what they say
    seconds: float  # of scoring the first seed's checkpoint, the controls included

    @property
    def lengths(self) -> tuple[int, ...]:
        return self.curve.lengths

    @property
    def is_task(self) -> bool:
        """Whether it has a chance level; else it is a loss."""
        return self.curve.chance_K is not None


def judge(
    contestant: Contestant, config: EvalConfig, group: int = 0
) -> tuple[list[Judgement], list[str]]:
    """Judges the primary curves of a contestant that are no controls. A loss whose scorer was not
    run plain at L_train, so that there is nothing to compare with, has no judgement.

    group: its number among those on the card, see `resample`.

    Returns: the judgements; and which curves have none, since a figure of them is not finite.
    """
    curves = {key: runs for key, runs in contestant.curves().items() if runs[0].primary}
    scores = {
        key: resample(
            runs,
            **resampling(config),
            group=group,
        )
        for key, runs in curves.items()
    }
    l_train = contestant.first.identity.l_train
    judged: list[Judgement] = []
    left_out: list[str] = []
    for key, (curve, *_) in curves.items():
        if curve.control != PLAIN_CONTROL:
            continue
        try:
            if curve.chance_K is not None:
                same = (curve.scorer, curve.method)
                with_controls = {k: runs for k, runs in curves.items() if (k[0], k[2]) == same}
                judged.append(_task(with_controls, scores, curve, l_train))
            elif (worse := _worse(curves, scores, curve, l_train)) is not None:
                judged.append(_loss(curve, scores[key], worse, l_train))
        except FloatingPointError as error:
            left_out.append(f"{curve.scorer} ({curve.method}): {error}")
    return judged, left_out


def _task(
    curves: Mapping[Key, Sequence[Curve]],
    scores: Mapping[Key, Resamples],
    curve: Curve,
    l_train: int,
) -> Judgement:
    measured, lengths = scores[curve.key], curve.lengths
    corrected = chance_corrected(curve, measured)
    margin = corrected.map(lambda x: x - RELATIVE * x[..., :1])
    controls = {
        other.control: chance_corrected(other, scores[key])
        for key, (other, *_) in curves.items()
        if key[:3] == curve.key[:3] and other.lengths == lengths
    }
    return Judgement(
        curve=curve,
        scores=tuple(measured.estimates()),
        judged=tuple(corrected.estimates()),
        holds=relative_length(lengths, corrected),
        useful=absolute_length(lengths, corrected),
        holds_fit=crossing(lengths, margin, 0.0) if corrected.estimates()[0].low > 0 else None,
        useful_fit=crossing(lengths, corrected, ABSOLUTE),
        areas=areas(lengths, l_train, corrected),
        drops=sudden_drops(lengths, measured, higher_is_better=True),
        controls={
            name: tuple(scores.estimates())
            for name, scores in controls.items()
            if name != PLAIN_CONTROL
        },
        findings=findings(lengths, controls, l_train),
        seconds=sum(runs[0].seconds for key, runs in curves.items() if key[0] == curve.scorer),
    )


def _loss(curve: Curve, measured: Resamples, worse: Resamples, l_train: int) -> Judgement:
    lengths = curve.lengths
    beyond = [k for k, length in enumerate(lengths) if length >= l_train]
    gain = worse.map(np.negative)
    return Judgement(
        curve=curve,
        scores=tuple(measured.estimates()),
        judged=tuple(gain.estimates()),
        holds=safe_length(lengths, l_train, worse),
        useful=useful_length(lengths, l_train, worse) if curve.same_targets else None,
        holds_fit=crossing(
            [lengths[k] for k in beyond], gain.map(lambda x: x[..., beyond]), -SAFE_NATS
        ),
        useful_fit=None,
        areas=None,
        drops=sudden_drops(lengths, measured, higher_is_better=curve.higher_is_better),
        controls={},
        findings=(),
        seconds=curve.seconds,
    )


def _worse(
    curves: Mapping[Key, Sequence[Curve]],
    scores: Mapping[Key, Resamples],
    curve: Curve,
    l_train: int,
) -> Resamples | None:
    """Excess loss over the plain model at L_train, of the same units; None: not comparable."""
    measured = scores[curve.key]
    if max(curve.lengths) < l_train:
        return None
    if curve.baseline is not None:
        return measured.map(lambda x: x - curve.baseline)
    key = (curve.scorer, curve.metric, PLAIN, PLAIN_CONTROL)
    if key not in curves or l_train not in curves[key][0].lengths:
        return None
    if curves[key][0].population != curve.population:
        raise ValueError(f"{curve.scorer}: {curve.method} and plain scored other targets")
    truncation = scores[key].at(curves[key][0].lengths.index(l_train))
    return measured.minus(truncation)
