"""Training log of metrics.jsonl for the report: by bucket, over steps, and as speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lengthwise.common.errors import UserError


@dataclass(frozen=True)
class BucketSpeed:
    """Medians over the logged steps of one bucket."""

    length: int  # tokens
    logged_steps: int
    milliseconds: float  # per step
    tokens_per_second: float
    flops_per_second: float
    peak_share: float  # of the machine's matmul peak
    data_wait_share: float  # of the step time, in all


class TrainingLog:
    """Rows of kind "train" as arrays [M], ascending in step.

    Raises UserError when there is none.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]]):
        trained = [row for row in rows if row["kind"] == "train"]
        if not trained:
            raise UserError("metrics.jsonl holds no training step; train before writing a report")

        def column(name: str) -> np.ndarray:
            return np.array([row[name] for row in trained])

        self.step = column("step")
        self.tokens = column("tokens")  # of all steps up to this one
        self.bucket = column("bucket")
        self.loss = column("loss")
        self.grad_norm = column("grad_norm")
        self.seconds = column("seconds")  # of the logged step
        self._rows = trained
        # Tokens since the row before: exact per bucket where each step is logged.
        self.new_tokens = np.diff(self.tokens, prepend=0)
        self.lengths = [int(length) for length in np.unique(self.bucket)]
        # In the order in which they first appear; none where the corpus has one domain.
        self.domains = list(
            dict.fromkeys(name for row in trained for name in row.get("losses", ()))
        )
        self.log_every = int(np.median(np.diff(self.step))) if len(trained) > 1 else 1

    def tokens_by_bucket(self) -> dict[int, int]:
        """Bucket length -> tokens trained on in it, padding included."""
        return {n: int(self.new_tokens[self.bucket == n].sum()) for n in self.lengths}

    def phase_shares(self) -> dict[int, dict[str, float]]:
        """Shares of the phases in "tokens", "FLOPs" and "time" of the steps, by phase number.

        Steps that are logged stand for those since the last one.
        """
        steps = np.diff(self.step, prepend=0)
        speed = np.array([row["flops_per_second"] for row in self._rows])
        phase = np.array([row["phase"] for row in self._rows])
        spent = {
            "tokens": self.new_tokens,
            "FLOPs": steps * self.seconds * speed,
            "time": steps * self.seconds,
        }
        return {
            int(number): {
                name: float(of[phase == number].sum() / of.sum()) for name, of in spent.items()
            }
            for number in np.unique(phase)
        }

    def bucket_shares(self, bins: int) -> tuple[np.ndarray, np.ndarray]:
        """(edges [n+1] in steps, shares [buckets, n] of the tokens of each stretch of steps)."""
        bins = min(bins, len(self.step))
        edges = np.linspace(self.step[0] - self.log_every, self.step[-1], bins + 1)
        # A stretch (a, b] holds step b, but np.histogram's [a, b) does not: half a step back.
        middles = self.step - 0.5
        tokens = [self.new_tokens * (self.bucket == length) for length in self.lengths]
        counts = np.stack([np.histogram(middles, edges, weights=n)[0] for n in tokens])
        total = counts.sum(axis=0)
        filled = total > 0
        left = np.append(edges[:-1][filled], edges[-1])
        return left, counts[:, filled] / total[filled]

    def curve(self, values: np.ndarray, length: int, points: int) -> tuple[np.ndarray, np.ndarray]:
        """(tokens, mean value) of one bucket in up to `points` equal stretches of training."""
        mine = self.bucket == length
        return self._means(self.tokens[mine], values[mine], np.ones(mine.sum()), points)

    def domain_curve(self, domain: str, points: int) -> tuple[np.ndarray, np.ndarray]:
        """(tokens, loss of a domain over its targets) in up to `points` stretches of training."""
        rows = [row for row in self._rows if domain in row.get("losses", ())]
        return self._means(
            np.array([row["tokens"] for row in rows]),
            np.array([row["losses"][domain] for row in rows]),
            np.array([row["domain_targets"][domain] for row in rows], np.float64),
            points,
        )

    def _means(
        self, tokens: np.ndarray, values: np.ndarray, weights: np.ndarray, points: int
    ) -> tuple[np.ndarray, np.ndarray]:
        stretch = np.minimum(points * tokens // self.tokens[-1], points - 1)
        _, index = np.unique(stretch, return_inverse=True)
        places = np.bincount(index, tokens) / np.bincount(index)
        return places, np.bincount(index, values * weights) / np.bincount(index, weights)

    def speed(self) -> list[BucketSpeed]:
        """Per bucket, shortest first. The first logged step of each is left out where there are
        more: it may hold a compilation."""
        result = []
        for length in self.lengths:
            mine = [row for row in self._rows if row["bucket"] == length]
            mine = mine[1:] or mine
            middle = {
                name: float(np.median([row[name] for row in mine]))
                for name in ("seconds", "tokens_per_second", "flops_per_second", "peak_share")
            }
            seconds = sum(row["seconds"] for row in mine)
            waited = sum(row["data_wait_seconds"] for row in mine)
            result.append(
                BucketSpeed(
                    length=length,
                    logged_steps=len(mine),
                    milliseconds=1000 * middle["seconds"],
                    tokens_per_second=middle["tokens_per_second"],
                    flops_per_second=middle["flops_per_second"],
                    peak_share=middle["peak_share"],
                    data_wait_share=waited / seconds,
                )
            )
        return result


def evaluation_rows(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Rows of kind "eval": SelectionProbe.record with its step."""
    return [row for row in rows if row["kind"] == "eval"]


def run_seconds(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds of "training" (steps that are logged stand for those since the last one) and of
    "scores during training", of all rows of metrics.jsonl."""
    log = TrainingLog(rows)
    steps = np.diff(log.step, prepend=0)
    return {
        "training": float(steps @ log.seconds),
        "scores during training": float(sum(row["seconds"] for row in evaluation_rows(rows))),
    }
