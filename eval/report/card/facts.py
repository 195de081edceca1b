"""The strip of facts on the card: what was trained, on what, when and how."""

from __future__ import annotations

from collections.abc import Mapping

from lengthwise.eval.report.run.run_page import RunInputs
from lengthwise.eval.report.style import token_count, token_scale
from lengthwise.eval.report.training_log import TrainingLog, run_seconds


def card_facts(inputs: RunInputs, made: Mapping[str, str]) -> dict[str, str]:
    """Title of a fact -> its text.

    Args:
      made: what the run itself doesn't know, such as the command.
    """
    facts = {
        "Parameters": _count(inputs.facts["Model"]["parameters"]),
        "Positions": str(inputs.facts["Model"]["positions"]),
        "Corpus": str(inputs.facts["Corpus"]["source"]),
        "Machine": str(inputs.facts["Machine"]["devices"]),
    }
    if not inputs.metrics:  # weights from elsewhere
        return facts | dict(made)
    log = TrainingLog(inputs.metrics)
    trained = log.tokens_by_bucket()
    seconds = sum(run_seconds(inputs.metrics).values())
    minutes = f"{seconds / 60:,.1f}" if seconds < 6000 else f"{seconds / 60:,.0f}"
    return {
        "Parameters": facts.pop("Parameters"),
        "Trained tokens": _count(int(log.tokens[-1])),
        "Positions": facts.pop("Positions"),
        "Buckets": " ".join(token_count(length) for length in trained),
        **facts,
        "Minutes of training": minutes,
        **made,
    }


def _count(number: int) -> str:
    scale, unit = token_scale(number)
    return f"{number / scale:.3g} {unit}".strip()
