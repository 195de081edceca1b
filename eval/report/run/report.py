"""Report of a run on text: one self-contained page, readable offline, and its pictures as PNGs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lengthwise.eval.losses.results import GAIN, POSITION_NLL, SAME_TARGET_NLL, Results
from lengthwise.eval.report.estimate_text import cell, ratio_text
from lengthwise.eval.report.method_words import in_sentence, method_title
from lengthwise.eval.report.page import Figure, Picture, page_environment, write_page
from lengthwise.eval.report.run.data_pictures import (
    boundary_gap,
    draw_boundary,
    draw_domain_losses,
    draw_domains,
    draw_exposure,
)
from lengthwise.eval.report.run.data_wording import (
    best_method,
    boundary_sentence,
    domain_table,
    exposure_sentence,
)
from lengthwise.eval.report.run.methods_picture import draw_methods, draw_scheduled
from lengthwise.eval.report.run.pictures import (
    LINES,
    draw_position_nll,
    draw_same_target,
    draw_selection,
)
from lengthwise.eval.report.run.run_page import (
    RunInputs,
    run_filters,
    run_values,
    training_pictures,
)
from lengthwise.eval.report.run.wording import (
    headline,
    headline_table,
    length_table,
    method_names,
    method_notes,
)
from lengthwise.eval.report.style import token_count
from lengthwise.eval.report.training_log import TrainingLog, evaluation_rows

HEADLINE_RATIOS = (2.0, 4.0)  # beside truncation, which is the plain model at 1


@dataclass(frozen=True)
class ReportInputs(RunInputs):
    """Content of the page."""

    exposure: Mapping[str, Any]  # as in exposure.json
    results: Results


def write_report(workdir: Path, inputs: ReportInputs) -> Path:
    """Writes workdir/report/index.html and a PNG per picture beside it; returns the page's path.

    Each file is replaced whole. Raises UserError where metrics hold no training step.
    """
    log = TrainingLog(inputs.metrics)
    return write_page(
        workdir / "report" / "index.html",
        _pictures(inputs, log),
        lambda figures: render(inputs, log, figures),
    )


def render(inputs: ReportInputs, log: TrainingLog, figures: Mapping[str, Figure]) -> str:
    """The page as text; whatever comes from the user is escaped."""
    environment = page_environment()
    environment.filters.update(
        run_filters(),
        ratio=ratio_text,
        cell=cell,
        method=method_title,
        across=boundary_sentence,
    )
    results = inputs.results
    (truncation,) = results.select(metric=SAME_TARGET_NLL, role="result", method="plain", ratio=1.0)
    return environment.get_template("report.html.j2").render(
        run_values(inputs, log),
        sentences=headline(results),
        ratios=HEADLINE_RATIOS,
        headline_rows=headline_table(results, HEADLINE_RATIOS),
        truncation=truncation,
        length_rows=length_table(results),
        method_notes=method_notes(results),
        multipliers=results.multipliers,
        selection_documents=results.select(role="selection")[0].n_documents,
        position=results.select(metric=POSITION_NLL, role="result")[0],
        controls=results.select(metric=GAIN, role="control"),
        figures=figures,
        exposure=inputs.exposure,
        exposed=exposure_sentence(inputs.exposure["total"], truncation.l_train),
        domain_method=best_method(results),
        domain_rows=domain_table(results, best_method(results)),
        domain_contexts=sorted(
            {row.context for row in results.select(role="domain") if row.context > row.l_train}
        ),
        boundary=boundary_gap(results),
        left_out=results.left_out,
    )


def _pictures(inputs: ReportInputs, log: TrainingLog) -> list[Picture]:
    results = inputs.results
    (truncation,) = results.select(metric=SAME_TARGET_NLL, role="result", method="plain", ratio=1.0)
    l_train = token_count(truncation.l_train)
    position = results.select(metric=POSITION_NLL, role="result")[0]
    interval = f"{truncation.confidence:.0%} intervals, {truncation.n_clusters} documents"
    gray = ""
    if len(method_names(results)) > LINES:
        gray = f" In color: the plain model and the {LINES - 1} best; the picture above has all."
    pictures = [
        Picture(
            "methods",
            "All methods of running the model, by their gain over truncation, the plain model "
            f"with its context cut to the last {l_train} tokens (dashed line at zero). ▲ useful: "
            "the longer context helps. ▼ worse than truncation. ● no difference detectable. The "
            "best at the shortest context stands first; each is tested by itself, without a "
            f"correction for their number. Bars: {interval}.",
            "Dot plot of the paired gain over truncation of every method, one panel a context.",
            partial(draw_methods, results),
        ),
        Picture(
            "same_target",
            f"The same {truncation.n_targets:,} target tokens, scored with more and more context. "
            f"Dashed: truncation, the plain model with its context cut to the last {l_train} "
            "tokens. Right: the gain over truncation, estimated in pairs, which is why its "
            "intervals are tighter than those on the left; its axis is linear near zero and "
            f"logarithmic further out where losses are large. Bars: {interval}.{gray}",
            "Line chart of loss against context length, one line per method, with the training "
            "length and truncation marked; beside it the paired gain over truncation.",
            partial(draw_same_target, results),
        ),
        Picture(
            "position_nll",
            f"One pass over the first {token_count(position.pass_length)} tokens of each "
            "document, in bins of powers of two. Content changes with position as well, so this "
            "shows where a model breaks, not what context is worth. A scaling factor that "
            "depends on the length is the one for the whole pass, in range too. "
            f"Bars: {interval}.",
            "Line chart of loss against position on a logarithmic axis, one line per method, "
            "with the training length marked.",
            partial(draw_position_nll, results),
        ),
        *training_pictures(log),
    ]
    if log.domains:
        pictures.append(
            Picture(
                "domain_losses",
                "Training loss of each domain over its own targets, averaged over stretches of "
                "training. Domains hold different text, so their levels are not comparable.",
                "Line chart of training loss by domain.",
                partial(draw_domain_losses, log),
            )
        )
    pictures.append(
        Picture(
            "exposure",
            "How many targets were trained with how much context: the tokens that a target may "
            "attend to, bounded by the start of its row, by the document mask and by a window. "
            "Left: in bins that end at powers of two, stacked by bucket. Right: the share of "
            "targets with more than so much.",
            "Bar chart of trained targets by tokens of context, with the training length marked, "
            "and the share of targets with more than that context.",
            partial(draw_exposure, inputs.exposure["total"], truncation.l_train),
        )
    )
    if results.select(role="domain"):
        method = best_method(results)
        pictures.append(
            Picture(
                "domains",
                f"Each domain's own targets, run {in_sentence(method)}. Right: the gain over "
                f"truncation, in pairs. Bars: {truncation.confidence:.0%} intervals.",
                "Line chart of loss against context length, one line per domain, and the gain "
                "over truncation.",
                partial(draw_domains, results, method),
            )
        )
    if boundary_gap(results):
        pictures.append(
            Picture(
                "boundary",
                f"Held-out documents packed into rows of {l_train} tokens, in bins of powers of "
                "two of the tokens between the boundary and the target. The same targets on the "
                "same rows: with the document mask and positions that restart, and naive, one "
                "causal mask and running positions. Right: the difference in pairs. Bars: "
                f"{truncation.confidence:.0%} intervals.",
                "Line chart of loss against the distance from a document boundary, masked and "
                "naive, and their difference.",
                partial(draw_boundary, results),
            )
        )
    evaluations = evaluation_rows(inputs.metrics)
    if evaluations:
        pictures.append(
            Picture(
                "selection",
                "Same-target score on the selection split during training. Early stopping and the "
                f"best checkpoint go by {_stopping_score(inputs.config)}. Shaded: "
                f"{truncation.confidence:.0%} intervals.",
                "Line chart of the selection score over training steps at the training length "
                "and twice that.",
                partial(draw_selection, evaluations),
            )
        )
    scheduled = [row for row in evaluations if row["scores"]]
    if scheduled:
        pictures.append(
            Picture(
                "scheduled",
                "What eval.during names, on the selection split during training, at the training "
                f"length and twice that. Shaded: {truncation.confidence:.0%} intervals. Dotted: "
                "the best checkpoint, by stopping.score.",
                "Line charts of scores over training steps, one panel a scorer.",
                partial(draw_scheduled, scheduled),
            )
        )
    return pictures


def _stopping_score(config: Mapping[str, Any]) -> str:
    name = config["stopping"]["score"]
    return "the one at 2x" if name == "nll" else f"another score, {name}"
