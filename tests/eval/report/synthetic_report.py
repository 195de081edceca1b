"""An invented run for the report, with the shape of a real one. Test-only."""

from __future__ import annotations

import numpy as np

from lengthwise.eval.losses.position_nll import position_bins
from lengthwise.eval.losses.results import (
    BOUNDARY_GAP,
    BOUNDARY_NLL,
    GAIN,
    POSITION_NLL,
    SAME_TARGET_NLL,
    ResultRow,
    Results,
)
from lengthwise.eval.report.run.report import ReportInputs
from lengthwise.eval.statistics.bootstrap import Estimate
from lengthwise.eval.statistics.verdicts import verdict

L_TRAIN = 128
CONTEXTS = [1, 2, 4, 8, 16, 32, 64, 128]
# Gains over truncation at 2x, 4x, 8x.
GAINS = {
    "plain": (-0.62, -1.41, -1.73),
    "linear": (-0.031, -0.36, -0.98),
    "ntk": (0.024, 0.031, 0.006),
    "lambda": (0.004, -0.002, -0.001),
}
HALF_WIDTH = {"plain": 0.09, "linear": 0.03, "ntk": 0.012, "lambda": 0.005}
IN_RANGE = {32: 1.634, 64: 1.497, 128: 1.402}


def row(
    metric,
    estimate,
    *,
    method="plain",
    context,
    low_context=None,
    role="result",
    length=0,
    domain="",
):
    beyond = (length or context) > L_TRAIN
    scaling = method if method in ("linear", "ntk") and beyond else "none"
    return ResultRow(
        metric=metric,
        unit="nats/token",
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        confidence=0.95,
        n_documents=64,
        n_clusters=61,
        n_targets=8192,
        role=role,
        domain=domain,
        method=method,
        context_from=low_context or context,
        context=context,
        pass_length=length or context,
        ratio=context / L_TRAIN,
        l_train=L_TRAIN,
        position_scheme="rope",
        scaling=scaling,
        factor=(length or context) / L_TRAIN if scaling != "none" else 1.0,
        positions="",
        mask="window 124 + 4 sinks" if method == "lambda" and beyond else "causal",
        verdict=verdict(estimate).value if metric == GAIN and context > L_TRAIN else None,
        corpus_fingerprint="3f1c0e9ab2d84c55",
        split="selection" if role == "selection" else "report",
        checkpoint_step=2000,
    )


def around(value, half_width):
    return Estimate(value, value - half_width, value + half_width)


def results(gains=GAINS):
    rows = [row(SAME_TARGET_NLL, around(1.39, 0.05), context=256, role="selection")]
    for method, beyond in gains.items():
        for context, nll in IN_RANGE.items():
            gain = IN_RANGE[L_TRAIN] - nll
            rows.append(row(SAME_TARGET_NLL, around(nll, 0.05), method=method, context=context))
            width = 0.01 if gain else 0
            rows.append(row(GAIN, around(gain, width), method=method, context=context))
        for context, gain in zip((256, 512, 1024), beyond, strict=True):
            nll = IN_RANGE[L_TRAIN] - gain
            half_width = HALF_WIDTH.get(method, 0.01)
            estimate = around(nll, 0.05 + half_width)
            rows.append(row(SAME_TARGET_NLL, estimate, method=method, context=context))
            rows.append(row(GAIN, around(gain, half_width), method=method, context=context))
        for fewest, most in position_bins(1024):
            nll = 1.35 + 2.4 / np.sqrt(most)
            index = int(np.log2(most / L_TRAIN)) if most > L_TRAIN else 0
            nll -= ((0.0, *beyond))[index] * 1.1
            estimate = around(nll, 0.3 / np.sqrt(most) + 0.04)
            rows.append(
                row(
                    POSITION_NLL,
                    estimate,
                    method=method,
                    context=most,
                    low_context=fewest,
                    length=1024,
                )
            )
    for number, domain in enumerate(("code", "prose", "manuals")):
        for method, beyond in gains.items():
            for context, gain in zip((128, 256, 512, 1024), (0.0, *beyond), strict=True):
                gain *= 1 - 0.4 * number
                nll = around(IN_RANGE[L_TRAIN] + 0.2 * number - gain, 0.08)
                for metric, estimate in ((SAME_TARGET_NLL, nll), (GAIN, around(gain, 0.02))):
                    rows.append(
                        row(
                            metric,
                            estimate,
                            method=method,
                            context=context,
                            role="domain",
                            domain=domain,
                        )
                    )
    for fewest, most in [*position_bins(L_TRAIN), (1, L_TRAIN)]:
        masked, gap = 1.4 + 2 / np.sqrt(most), around(0.5 / np.sqrt(most), 0.02)
        for metric, name, estimate in (
            (BOUNDARY_NLL, "masked", around(masked, 0.1)),
            (BOUNDARY_NLL, "naive", around(masked + gap.value, 0.1)),
            (BOUNDARY_GAP, "naive", gap),
        ):
            rows.append(
                row(
                    metric,
                    estimate,
                    method=name,
                    context=most,
                    low_context=fewest,
                    role="boundary",
                    length=L_TRAIN,
                )
            )
    control = around(-2.31, 0.12)
    rows.append(row(GAIN, control, method="shuffled positions", context=L_TRAIN, role="control"))
    left_out = ("letters has 3 independent documents of at least 1025 tokens",)
    return Results(tuple(rows), {"linear": 1.0, "ntk": 2.0}, left_out)


def metrics(steps=2000, log_every=5):
    rng = np.random.default_rng(0)
    rows = []
    for step in range(log_every, steps + 1, log_every):
        cycle = (step % (steps / 2)) / (steps / 2)  # two cycles, short lengths first
        odds = np.array([(1 - cycle) ** 2 + 0.05, 0.5, cycle**2 + 0.05])
        bucket = int(rng.choice([32, 64, 128], p=odds / odds.sum()))
        level = {32: 1.72, 64: 1.56, 128: 1.44}[bucket]
        loss = level + 4.1 * np.exp(-step / 90) + 0.7 * np.exp(-step / 700)
        seconds = 0.078 + 0.00005 * bucket + rng.gamma(2, 0.001)
        flops = 8192 * 5.4e6 / seconds
        rows.append(
            {
                "kind": "train",
                "step": step,
                "phase": 0,
                "bucket": bucket,
                "tokens": step * 8192,
                "targets": 8190,
                "loss": float(loss + rng.normal(0, 0.06)),
                "learning_rate": 4e-3,
                "grad_norm": float(0.4 + 3 * np.exp(-step / 60) + rng.gamma(2, 0.05)),
                "seconds": seconds,
                "tokens_per_second": 8192 / seconds,
                "flops_per_second": flops,
                "peak_share": flops / 9.2e11,
                "data_wait_seconds": 0.0001,
                "losses": {"code": float(loss - 0.2), "prose": float(loss + 0.3)},
                "domain_targets": {"code": 5190, "prose": 3000},
            }
        )
        if step % 200 == 0:
            inside = 1.40 + 0.9 * np.exp(-step / 400)
            beyond = inside + 0.35 + 0.3 * step / steps
            rows.append(
                {
                    "kind": "eval",
                    "step": step,
                    "score": beyond,
                    "stopping_score": beyond,
                    "scores": {
                        f"passkey@{length}": {
                            "value": right,
                            "low": right - 0.06,
                            "high": right + 0.06,
                            "metric": "accuracy",
                            "unit": "accuracy",
                            "higher_is_better": True,
                            "seconds": 0.2,
                        }
                        for length, right in ((128, 1.2 - beyond / 4), (256, 0.9 - beyond / 4))
                    },
                    "score_low": beyond - 0.08,
                    "score_high": beyond + 0.08,
                    "score_context": 256,
                    "in_range_score": inside,
                    "in_range_score_low": inside - 0.05,
                    "in_range_score_high": inside + 0.05,
                    "in_range_score_context": 128,
                }
            )
    return rows


def layout():
    buckets = [
        {"length": n, "sequences": s, "tokens": n * s, "targets": n * s, "reached": r, "asked": a}
        for n, s, r, a in (
            (32, 270_110, 0.334, 1 / 3),
            (64, 134_800, 0.333, 1 / 3),
            (128, 67_310, 0.333, 1 / 3),
        )
    ]
    return {
        "layout": "decompose",
        "documents": 1502,
        "document_tokens": 25_902_114,
        "possible_targets": 25_900_612,
        "buckets": buckets,
        "mean_context": 38.2,
        "mean_document_context": 38.2,
        "notes": ["The tails of 1,498 documents were packed into bucket 32."],
        "sequences": 472_220,
        "tokens": 25_886_720,
        "targets": 25_886_720,
        "share_padded": 0.0003,
        "share_dropped": 0.0,
    }


def exposure():
    """Of two phases, alike but for their steps."""
    by_bucket = {
        n: [int(1000 * n * min(c, n) / c) if c <= n else 0 for c in CONTEXTS] for n in (32, 64, 128)
    }
    phase = {
        "steps": 1000,
        "context": CONTEXTS,
        "targets": [sum(counts[k] for counts in by_bucket.values()) for k in range(len(CONTEXTS))],
        "targets_by_bucket": {str(n): counts for n, counts in by_bucket.items()},
    }
    named = {"layout": "decompose", **phase}
    return {"l_train": L_TRAIN, "phases": [named, {**named, "layout": "pack"}], "total": phase}


def report_inputs(**changes):
    inputs = {
        "title": "quickstart: L_train 128 on the standard library",
        "config": {
            "store": "",
            "model": {"layers": 4, "embed_dim": 128, "qk_norm": "head"},
            "phase": {"steps": 2000, "layout": {"mixture": "equal_tokens", "tails": "pack"}},
            "eval": {"ratios": [0.25, 0.5, 1, 2, 4, 8], "methods": ["linear", "ntk", "lambda"]},
            "stopping": {"score": "nll"},
        },
        "metrics": metrics(),
        "layouts": [layout()],
        "exposure": exposure(),
        "facts": {
            "Corpus": {
                "source": "Python 3.11 standard library, .py sources",
                "documents": 1790,
                "tokens": 31_004_118,
                "tokenizer": "bytes, 257 tokens",
            },
            "Machine": {"device": "cpu x 1", "processor": "x86_64, 2 cores", "jax": "0.10.2"},
        },
        "results": results(),
    }
    return ReportInputs(**{**inputs, **changes})
