"""The card as data: judgements of each contestant, comparisons between them, card.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lengthwise.common.files import write_figures
from lengthwise.eval.card.comparison import Comparison, compare, compare_methods
from lengthwise.eval.card.contestants import Contestant, contestants
from lengthwise.eval.card.judgement import Judgement, judge
from lengthwise.eval.card.lengths import ABSOLUTE, RELATIVE, SAFE_NATS
from lengthwise.eval.card.shape import GROWTH
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.losses.curve_file import Evaluation
from lengthwise.eval.statistics.reach import Reach

FORMAT_VERSION = 2
CARD = Path("eval") / "card.json"  # in a work directory


@dataclass(frozen=True)
class CardEntry:
    """A contestant and the judgements of its curves."""

    contestant: Contestant
    judgements: tuple[Judgement, ...]
    left_out: tuple[str, ...] = ()  # which curves have no judgement, and why

    @property
    def l_train(self) -> int:
        return self.contestant.first.identity.l_train


@dataclass(frozen=True)
class Card:
    """All contestants, the run that was just scored first."""

    entries: tuple[CardEntry, ...]
    comparisons: tuple[Comparison, ...]  # of other entries with the first
    methods: tuple[Comparison, ...]  # of the first entry's methods with the plain model
    confidence: float
    resamples: int
    left_out: tuple[str, ...] = ()  # comparisons that there are none of, and why

    @property
    def first(self) -> CardEntry:
        return self.entries[0]


def make_card(evaluations: Sequence[Evaluation], config: EvalConfig) -> Card:
    """Judges each contestant, and compares the others with the first.

    Raises UserError: evaluations that can't be compared, see `contestants`.
    """
    group = contestants(evaluations)
    entries = []
    for number, one in enumerate(group):
        judged, missing = judge(one, config, number)
        entries.append(CardEntry(one, tuple(judged), tuple(missing)))
    comparisons, uncompared = compare(group, config)
    methods, untold = compare_methods(group[0], config)
    return Card(
        entries=tuple(entries),
        comparisons=tuple(comparisons),
        methods=tuple(methods),
        confidence=config.confidence,
        resamples=config.bootstrap_samples,
        left_out=(*uncompared, *untold),
    )


def save_card(card: Card, path: Path) -> None:
    """Writes card.json: strict JSON, whole or not at all."""
    write_figures(
        path,
        {
            "format_version": FORMAT_VERSION,
            "confidence": card.confidence,
            "resamples": card.resamples,
            "thresholds": {
                "absolute": ABSOLUTE,
                "relative": RELATIVE,
                "safe_nats": SAFE_NATS,
                "sudden_growth": GROWTH,
            },
            "entries": [_entry(entry) for entry in card.entries],
            "comparisons": [_comparison(each) for each in card.comparisons],
            "methods": [_comparison(each) for each in card.methods],
            "left_out": card.left_out,
        },
    )


def _entry(entry: CardEntry) -> dict[str, Any]:
    first = entry.contestant.first
    return {
        "name": entry.contestant.name,
        "claim": entry.contestant.claim,
        "l_train": entry.l_train,
        "length_p95": first.length_p95,
        "checkpoints": [
            {
                "name": each.name,
                "seed": each.seed,
                "seconds": dict(each.seconds),
                **dataclasses.asdict(each.identity),
            }
            for each in entry.contestant.evaluations
        ],
        "judgements": [
            _judgement(each, entry.l_train, first.length_p95) for each in entry.judgements
        ],
        "said": first.scored.sentences,
        "left_out": [*first.scored.left_out, *entry.left_out],
    }


def _judgement(each: Judgement, l_train: int, p95: int) -> dict[str, Any]:
    curve = each.curve
    plain = ("scorer", "metric", "method", "group", "unit", "dispersion", "scope")
    computed = ("scores", "judged", "holds_fit", "useful_fit", "areas", "drops", "findings")
    return {
        **{name: getattr(curve, name) for name in plain},
        "documents" if not each.is_task else "prompts": len(curve.clusters_N),
        "lengths": curve.lengths,
        "chance": None if curve.chance_K is None else curve.chance_K.tolist(),
        "holds": _reach(each.holds, l_train, p95),
        "useful": None if each.useful is None else _reach(each.useful, l_train, p95),
        **{name: _plain(getattr(each, name)) for name in computed},
        "controls": {name: _plain(control) for name, control in each.controls.items()},
        "seconds": each.seconds,
    }


def _comparison(each: Comparison) -> dict[str, Any]:
    return {**dataclasses.asdict(each), "said": [str(outcome) for outcome in each.outcomes]}


def _reach(reach: Reach, l_train: int, p95: int) -> dict[str, Any]:
    return {
        "tokens": reach.tokens,
        "censored": reach.censored,
        "shortest_tested": reach.shortest,
        "longest_tested": reach.longest,
        "over_l_train": reach.over(l_train),
        "over_length_p95": reach.over(p95),
    }


def _plain(value: Any) -> Any:
    """Converts dataclasses and tuples of them to what JSON has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
