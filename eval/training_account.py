"""Sentences on a training run: where its time went, and which steps went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.data_wording import percent

# What the seconds of a "goodput" row that are no steps went into.
ELSEWHERE = {
    "start": "starting",
    "compile": "compiling",
    "restore": "restoring",
    "evaluation": "evaluation",
    "saving": "saving",
    "data_wait": "waiting for data",
    "lost": "steps thrown away by kills and rollbacks",
    "down": "no process running",
}


def account_sentences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of the rows of metrics.jsonl; none on what they don't tell."""
    return [*_goodput(rows), *_anomalies(rows)]


def _goodput(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    accounts = [row for row in rows if row["kind"] == "goodput"]
    if not accounts:
        return []
    last = accounts[-1]
    wall = last["wall_seconds"]
    shares = {text: last[f"{cause}_seconds"] / wall for cause, text in ELSEWHERE.items()}
    rest = [
        f"{text} {percent(share)}"
        for text, share in sorted(shares.items(), key=lambda item: -item[1])
        if share >= 0.001
    ]
    hours = f"{wall / 3600:.3g} hours" if wall >= 3600 else f"{wall / 60:.3g} minutes"
    return [
        f"Of {hours} since the first start, {percent(last['goodput'])} went into steps that "
        f"count{'; ' if rest else ''}{', '.join(rest)}."
    ]


def _anomalies(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    said = []
    skips = [row for row in rows if row["kind"] == "skip"]
    if skips:
        steps = ", ".join(f"{row['step']:,} ({row['cause']})" for row in skips[:5])
        more = f" and {len(skips) - 5} more" if len(skips) > 5 else ""
        said.append(f"Updates that were skipped: {len(skips)}, at step {steps}{more}.")
    for row in rows:
        if row["kind"] == "rollback":
            begin, end = row["passed_over"]
            said.append(
                f"Rolled back from step {row['step']:,} ({row['cause']}) to checkpoint "
                f"{row['to_step']:,}; {end - begin:,} batches were passed over."
            )
    return said
