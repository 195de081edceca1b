"""Power-law forecast of the loss beyond L_train from the loss up to it.

The loss of a language model falls with the number of preceding tokens x about as

    L(x) = a x^b + c,   b < 0

(arXiv 2403.05530 forecasts from it over a million tokens). This fits the law to positions up to
L_train alone and compares what it forecasts beyond with what is measured there: the *excess*, in
nats/token, at (L_train, 2 L_train], (2 L_train, 4 L_train], ... Zero: the model goes on as
before.

The forecast is an estimate as well. To first order a document moves it by the derivative of the
forecast by the losses of the bins times what the document adds to these (the influence function of
the fit), so that much is taken off the document's own excess. These parts sum to zero: the excess
stays what it is, and intervals from resampled documents hold the uncertainty of the fit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from lengthwise.common.errors import UserError
from lengthwise.eval.inference.scorer import Method, token_bar
from lengthwise.eval.losses.methods import PLAIN
from lengthwise.eval.losses.position_nll import binned_nats
from lengthwise.eval.registry import SCORERS
from lengthwise.eval.scoring.bench import Bench, BenchScorer
from lengthwise.eval.statistics.curves import Curve, ScorerResult

_FIRST = 8  # preceding tokens: openings of documents follow no law
_BINS_PER_OCTAVE = 4
_EXPONENTS = (-4.0, -1e-3)


@dataclass(frozen=True)
class Bins:
    """J bins of positions, in preceding tokens."""

    from_J: np.ndarray  # int64, fewest
    most_J: np.ndarray  # int64

    @property
    def counts_J(self) -> np.ndarray:
        return (self.most_J - self.from_J + 1).astype(np.float64)

    def mean_power(self, b: float) -> np.ndarray:
        """[J] mean of x^b over each bin, by the integral: off by b (b - 1) / 24 x^2 of itself."""
        low_J, high_J = self.from_J - 0.5, self.most_J + 0.5
        if abs(b + 1) < 1e-9:
            return np.log(high_J / low_J) / self.counts_J
        return (high_J ** (b + 1) - low_J ** (b + 1)) / ((b + 1) * self.counts_J)


@dataclass(frozen=True)
class PowerLaw:
    """a x^b + c, in nats/token at x preceding tokens."""

    a: float
    b: float
    c: float

    def over(self, bins: Bins) -> np.ndarray:
        """[J] mean over each bin."""
        return self.a * bins.mean_power(self.b) + self.c


def fit(bins: Bins, loss_J: np.ndarray) -> PowerLaw:
    """Fits by least squares, all targets weighing the same; a and c in closed form for each b."""
    weights_J = bins.counts_J / bins.counts_J.sum()
    mean_loss = weights_J @ loss_J

    def solved(b: float) -> tuple[float, float, float]:
        power_J = bins.mean_power(b)
        mean_power = weights_J @ power_J
        away_J = power_J - mean_power
        a = weights_J @ (away_J * (loss_J - mean_loss)) / (weights_J @ away_J**2)
        c = mean_loss - a * mean_power
        return float(weights_J @ (a * power_J + c - loss_J) ** 2), float(a), float(c)

    # By log(-b): flat and steep curves are as far apart as they look.
    steep, flat = (np.log(-b) for b in _EXPONENTS)
    starts = np.linspace(flat, steep, 65)
    best = int(np.argmin([solved(-np.exp(t))[0] for t in starts]))
    optimum = minimize_scalar(
        lambda t: solved(-np.exp(t))[0],
        bounds=(starts[max(0, best - 1)], starts[min(len(starts) - 1, best + 1)]),
        method="bounded",
        options={"xatol": 1e-10},
    )
    b = -float(np.exp(optimum.x))
    _, a, c = solved(b)
    return PowerLaw(a, b, c)


def slopes(near: Bins, loss_J: np.ndarray, far: Bins) -> np.ndarray:
    """[K, J] derivatives of the forecasts by the losses that the law is fitted to, by differences.

    The bins have as many targets each in all documents.
    """
    step = 1e-3 * max(float(np.ptp(loss_J)), 1e-6)

    def forecast(moved: int, by: float) -> np.ndarray:
        changed = loss_J.copy()
        changed[moved] += by
        return fit(near, changed).over(far)

    columns = [(forecast(j, step) - forecast(j, -step)) / (2 * step) for j in range(len(loss_J))]
    return np.stack(columns, axis=1)


def excess(
    near_NJ: np.ndarray, near: Bins, far_NK: np.ndarray, far: Bins
) -> tuple[np.ndarray, PowerLaw]:
    """[N, K] nats of each document beyond the forecast, the uncertainty of the fit within them.

    near_NJ, far_NK: nats of each document in each bin.
    """
    each_NJ = near_NJ / near.counts_J
    loss_J = each_NJ.mean(axis=0)
    law = fit(near, loss_J)
    forecast_NK = law.over(far) + (each_NJ - loss_J) @ slopes(near, loss_J, far).T
    return far_NK - far.counts_J * forecast_NK, law


@SCORERS.register("power_law")
class PowerLawForecast(BenchScorer):
    """Scorer of the excess loss over the forecast. Raises UserError: L_train or the longest tested
    length is too short."""

    def prepare(self, bench: Bench) -> None:
        super().prepare(bench)
        l_train, longest = bench.l_train, bench.lengths[-1]
        if l_train < 4 * _FIRST or longest < 2 * l_train:
            raise UserError(
                f"eval.scorers: {self.name!r} fits positions {_FIRST} to L_train, {l_train} "
                f"tokens, and forecasts 2 L_train and more; it needs {4 * _FIRST} tokens to fit "
                "and the ratio 2 in eval.ratios"
            )
        octaves = int(np.log2(l_train / _FIRST))
        grid = l_train * 2.0 ** (-np.arange(octaves * _BINS_PER_OCTAVE + 1) / _BINS_PER_OCTAVE)
        # Most preceding tokens of each bin; a bin begins behind the one before.
        self._near = np.unique(np.round(grid).astype(np.int64))
        self._far = tuple(l_train << k for k in range(1, int(np.log2(longest / l_train)) + 1))
        self._targets = bench.targets(self._far[-1])

    @property
    def rows(self) -> tuple[int, ...]:
        return (self._far[-1],)

    def __call__(self, methods: Sequence[Method]) -> ScorerResult:
        plain = next(method for method in methods if method.name == PLAIN)
        near_NJ: np.ndarray | None = None
        curves: list[Curve] = []
        sentences: list[str] = []
        edges = np.concatenate([self._near, self._far])  # the first bin ends at edges[0]
        fitted = len(self._near) - 1
        bins = [
            Bins(edges[:-1][some] + 1, edges[1:][some])
            for some in (slice(fitted), slice(fitted, None))
        ]
        for method in [plain, *(m for m in methods if m is not plain)]:
            begin = time.perf_counter()
            sums_NJ = self._sums(method, edges)
            if near_NJ is None:
                near_NJ = sums_NJ[:, :fitted]
            excess_NK, law = excess(near_NJ, bins[0], sums_NJ[:, fitted:], bins[1])
            seconds = time.perf_counter() - begin
            curves.append(
                self.loss_curve(
                    method,
                    self._targets,
                    excess_NK,
                    bins[1].counts_J,
                    metric="excess_nll",
                    lengths=self._far,
                    baseline=0.0,
                    seconds=seconds,
                )
            )
            if method is plain:
                sentences.append(
                    f"loss up to L_train: {law.a:.3g} x^{law.b:.3g} + {law.c:.3g} nats/token "
                    "at x preceding tokens"
                )
                if not _EXPONENTS[0] * 0.99 < law.b < _EXPONENTS[1] * 1.1 or law.a <= 0:
                    sentences.append("that is no falling power law: its forecast means little")
        return ScorerResult(tuple(curves), sentences=tuple(sentences))

    def _sums(self, method: Method, edges: np.ndarray) -> np.ndarray:
        """[N, J] nats of each document in the bins between the edges, in preceding tokens."""
        targets, config = self._targets, self.bench.config
        length = int(edges[-1])
        with token_bar(len(targets.documents_N) * length, "scoring positions") as progress:
            scorer = method.scorer_at(length)
            return binned_nats(scorer, targets, length, edges[:-1], config, progress)
