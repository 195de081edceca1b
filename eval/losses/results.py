"""Result rows: estimates with unit, interval and provenance, as strict JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lengthwise.common.errors import UserError
from lengthwise.common.files import write_figures
from lengthwise.data.store.splits import Split
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.inference.scorer import Method, Setting
from lengthwise.eval.losses.targets import Targets
from lengthwise.eval.statistics.bootstrap import Estimate
from lengthwise.eval.statistics.curves import Curve

FORMAT_VERSION = 2

SAME_TARGET_NLL = "same_target_nll"  # NLL of the same targets at one context
GAIN = "gain_over_truncation"  # NLL(plain, L_train) - NLL(method, context), paired
POSITION_NLL = "position_nll"  # NLL of one bin of positions in a single pass
BOUNDARY_NLL = "boundary_nll"  # NLL of one bin of distances from a document's start, in packed rows
BOUNDARY_GAP = "boundary_gap"  # NLL(naive) - NLL(masked) of those targets, paired


@dataclass(frozen=True)
class RunIdentity:
    """Provenance that all rows of one evaluation share."""

    corpus_fingerprint: str  # rows of different corpora are not compared
    checkpoint_step: int  # optimizer steps behind the scored parameters
    l_train: int  # longest training length, tokens
    position_scheme: str  # "rope"


@dataclass(frozen=True)
class ResultRow:
    """One estimate with its provenance. Contexts and positions are counted in tokens."""

    metric: str  # one of the above
    unit: str  # "nats/token"
    value: float
    low: float  # lower end of the interval
    high: float  # upper end
    confidence: float  # coverage of the interval
    n_documents: int
    n_clusters: int  # near-duplicates counted once: the sample size behind the interval
    n_targets: int
    # "result", "domain" (the same for one domain), "boundary", "control", or "selection" (used to
    # choose, not to report)
    role: str
    domain: str  # whose documents these are; empty: all domains
    method: str
    context_from: int  # fewest preceding tokens among the targets
    context: int  # most preceding tokens among the targets
    pass_length: int  # input tokens of the pass: a method's factor follows this length
    ratio: float  # context / l_train
    l_train: int
    position_scheme: str
    scaling: str  # kind of RoPE scaling; "none" where the pass needs none
    factor: float  # 1.0 for those without one
    positions: str  # what else happens to distances and queries, in words; often empty
    mask: str
    verdict: str | None  # of a gain beyond l_train, see eval/statistics/verdicts.py
    corpus_fingerprint: str
    split: str
    checkpoint_step: int


def result_row(
    metric: str,
    estimate: Estimate,
    *,
    identity: RunIdentity,
    config: EvalConfig,
    setting: Setting,
    context: int,
    split: Split,
    **fields: Any,
) -> ResultRow:
    """Makes a row in nats/token with everything that its value depends on.

    fields: those without a value here; `mask` and the like replace what the setting says.
    """
    preset: dict[str, Any] = {
        **dataclasses.asdict(estimate),
        **dataclasses.asdict(identity),
        "unit": "nats/token",
        "confidence": config.confidence,
        "domain": "",
        "context": context,
        "ratio": context / identity.l_train,
        "scaling": setting.scaling.kind,
        "factor": setting.scaling.factor,
        "positions": setting.scaling.extras,
        "mask": str(setting.mask),
        "verdict": None,
        "split": split.name.lower(),
    }
    return ResultRow(metric=metric, **(preset | fields))


def target_row(
    metric: str,
    estimate: Estimate,
    *,
    method: Method,
    targets: Targets,
    pass_length: int,
    **fields: Any,
) -> ResultRow:
    """`result_row` of a method on target tokens, in passes of `pass_length` inputs."""
    return result_row(
        metric,
        estimate,
        method=method.name,
        setting=method.setting_at(pass_length),
        pass_length=pass_length,
        n_documents=len(targets.documents_N),
        n_clusters=targets.num_clusters,
        split=targets.split,
        **fields,
    )


@dataclass(frozen=True)
class Results:
    """Rows and curves of one loss evaluation of one checkpoint.

    Raises ValueError where rows of different corpora, training lengths or checkpoints meet.
    """

    rows: tuple[ResultRow, ...]
    multipliers: dict[str, float]  # scaling -> multiplier m chosen on the selection split
    left_out: tuple[str, ...] = ()  # what could not be estimated and why, for people
    # The same scores by document, for the card. Kept in a file of their own (curve_file.py).
    curves: tuple[Curve, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        circumstances = {(r.corpus_fingerprint, r.l_train, r.checkpoint_step) for r in self.rows}
        if len(circumstances) != 1:
            raise ValueError(f"rows of {len(circumstances)} evaluations: {sorted(circumstances)}")

    def select(self, **fields: Any) -> list[ResultRow]:
        """Rows whose fields have these values, in order."""
        return [r for r in self.rows if all(getattr(r, k) == v for k, v in fields.items())]


def save_results(results: Results, path: Path) -> None:
    """Writes strict JSON (no NaN or infinity), whole or not at all."""
    content = {
        "format_version": FORMAT_VERSION,
        "multipliers": results.multipliers,
        "left_out": results.left_out,
        "rows": [dataclasses.asdict(row) for row in results.rows],
    }
    write_figures(path, content)


def load_results(path: Path) -> Results:
    """Reads a file of `save_results`. Raises UserError: another format version, broken JSON."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not valid JSON ({error}); run --mode=eval again") from error
    version = content.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}, this code reads {FORMAT_VERSION}; "
            "run --mode=eval again"
        )
    return Results(
        tuple(ResultRow(**row) for row in content["rows"]),
        content["multipliers"],
        tuple(content["left_out"]),
    )
