"""Page of the card: one file that needs no network, legible on a phone, in light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from lengthwise.common.files import atomic_write
from lengthwise.eval.card.card import CARD, Card, make_card, save_card
from lengthwise.eval.card.lengths import ABSOLUTE, RELATIVE, SAFE_NATS
from lengthwise.eval.config import EvalConfig
from lengthwise.eval.losses.curve_file import CURVES, Evaluation, save_evaluation
from lengthwise.eval.report.card.files import (
    CSV,
    MARKDOWN,
    SHARED,
    card_csv,
    card_markdown,
    shared_picture,
)
from lengthwise.eval.report.card.heat_maps import draw_grids, draw_heat
from lengthwise.eval.report.card.number_tables import fitted_table, score_table, truncation_table
from lengthwise.eval.report.card.pictures import draw_losses, draw_tasks, losses_of, tasks_of
from lengthwise.eval.report.card.reach_bars import ReachAxis, axis_svg, bar_svg, reach_bars
from lengthwise.eval.report.card.sentences import sentences
from lengthwise.eval.report.card.wording import (
    compared_lengths,
    cost_rows,
    difference_cells,
    left_out,
    title,
)
from lengthwise.eval.report.method_words import method_title
from lengthwise.eval.report.page import Figure, Picture, page_environment, write_page
from lengthwise.eval.report.style import token_count


def write_card(workdir: Path, evaluations: Sequence[Evaluation], config: EvalConfig) -> list[str]:
    """Saves the first evaluation's curves in `workdir` and writes the card of all evaluations.

    evaluations: that of `workdir`, then those that it is compared with.

    Returns: the outcome in sentences, and where the page is. Raises UserError where evaluations
    can't be compared; the curves are saved then.
    """
    save_evaluation(evaluations[0], workdir / CURVES)
    card = make_card(evaluations, config)
    save_card(card, workdir / CARD)
    page = write_page(
        workdir / "report" / "card.html",
        _pictures(card),
        lambda figures: render_card(card, figures),
    )
    _write_files(card, page.parent)
    return [*sentences(card), f"card: {page}"]


def _write_files(card: Card, folder: Path) -> None:
    """Writes what lies beside the page."""
    first, said = card.first, sentences(card)
    name, bars = first.contestant.name, reach_bars(first)
    facts = first.contestant.first.facts
    atomic_write(folder / CSV, [card_csv(card)])
    atomic_write(folder / MARKDOWN, [card_markdown(name, said, bars, facts)])
    atomic_write(folder / SHARED, [shared_picture(name, said[0], bars, first.l_train)])


def render_card(card: Card, figures: Mapping[str, Figure]) -> str:
    """The page as text; whatever comes from the user is escaped."""
    environment = page_environment()
    environment.filters.update(
        tokens=token_count,
        title=title,
        method=method_title,
    )
    first, bars = card.first, reach_bars(card.first)
    axis = ReachAxis(bars, first.l_train)
    environment.filters["bar_svg"] = lambda bar: bar_svg(bar, axis)
    truncation_lengths, truncation_rows = truncation_table(first)
    lengths = compared_lengths(card.comparisons, first.l_train)
    of_methods = [n for n in compared_lengths(card.methods, first.l_train, 5) if n > first.l_train]
    return environment.get_template("card.html.j2").render(
        card=card,
        name=first.contestant.name,
        claim=first.contestant.claim,
        first=first,
        evaluation=first.contestant.first,
        sentences=sentences(card),
        bars=bars,
        axis=axis_svg(axis),
        truncation_lengths=truncation_lengths,
        truncation_rows=truncation_rows,
        scores=score_table(first),
        fitted=fitted_table(first),
        files={"csv": CSV, "json": f"../{CARD}", "markdown": MARKDOWN, "shared": SHARED},
        tasks=tasks_of(first),
        compared=lengths,
        differences=[(c, difference_cells(c, lengths)) for c in card.comparisons],
        of_methods=of_methods,
        methods=[(c, difference_cells(c, of_methods)) for c in card.methods],
        costs=cost_rows(first),
        left_out=left_out(card),
        figures=figures,
        thresholds={
            "absolute": ABSOLUTE,
            "relative": RELATIVE,
            "safe": SAFE_NATS,
        },
    )


def _pictures(card: Card) -> list[Picture]:
    """Pictures for which there is data."""
    alone = len(card.entries) == 1
    pictures = []
    if any(tasks_of(entry) for entry in card.entries):
        pictures.append(
            Picture(
                "card_heat",
                "Scores corrected for chance, in percent: 0 is guessing, 100 is perfect. The "
                "vertical line is the training length; right of it, lengths that were not trained. "
                "Empty: the task doesn't fit.",
                "Heat map of chance-corrected scores, tasks against lengths.",
                partial(draw_heat, card),
            )
        )
    if tasks_of(card.first):
        beside = (
            "Dashed and dotted: its controls. Where the whole input does no better than its end, "
            "nothing older was used."
            if alone
            else "One line a run."
        )
        pictures.append(
            Picture(
                "card_tasks",
                "Each task against the length of its input, from chance (0) to perfect (1). "
                f"Shaded: {card.confidence:.0%} intervals by prompt. {beside} Gray bars: how much "
                "was trained at each length; gray ground: beyond the training length. Upper dashed "
                f"line: {ABSOLUTE:.1%}, where a task counts as solved.",
                "Small line charts of the score of each task against length, with intervals.",
                partial(draw_tasks, card),
            )
        )
    if losses_of(card.first):
        pictures.append(
            Picture(
                "card_losses",
                "How much lower the loss is than that of the plain model at the training length, "
                "on the same documents. Above the dashed line, the length helps; below the dotted "
                f"one, it costs more than {SAFE_NATS} nats/token. Bars: {card.confidence:.0%} "
                "intervals by document. Gray bars: how much was trained at each length.",
                "Line charts of the paired gain of the loss over the training length, against "
                "length.",
                partial(draw_losses, card),
            )
        )
    grids = card.first.contestant.first.scored.grids
    if grids:
        pictures.append(
            Picture(
                "card_grids",
                "Where in the input it matters: scores by length and by where what is asked for "
                "stands, corrected for chance where there is one, in percent.",
                "Heat maps of scores by length and depth or distance.",
                partial(draw_grids, grids),
            )
        )
    return pictures
