"""The page of claims: it is what its data give, names what there is, and says no more."""

import re
from dataclasses import replace

import pytest

from lengthwise.experiments.claims.lessons import (
    NO_VERDICT,
    NOT_YET,
    SETTLED,
    UNSETTLED,
    UNTESTABLE,
    length_cost,
    worse_beyond,
)
from lengthwise.experiments.claims.listed import ListedClaim, listed_claims
from lengthwise.experiments.claims.page import PAGE, StoredResults, answer, page, verdict_of
from lengthwise.experiments.definitions import EXPERIMENTS
from lengthwise.experiments.definitions.text import grid_of
from lengthwise.experiments.page import DOCS
from lengthwise.experiments.text.plan import make_plan
from lengthwise.experiments.text.run import main_runs, pilot_runs, rate_runs
from tests.experiments.text.planted import GRID, WORTH, losses, row_for


@pytest.fixture(scope="module")
def evidence():
    return StoredResults(DOCS)


def test_the_published_page_is_what_its_data_give(evidence):
    given = page(evidence)
    assert (DOCS / PAGE).read_text("utf-8") == given, "run: python -m lengthwise.experiments.claims"
    # Its links within docs/ lead to headings that there are.
    for file, anchor in re.findall(r"\]\(([\w./]*\.md)?#([\w-]+)\)", given):
        text = (DOCS / (file or PAGE)).read_text("utf-8")
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        slugs = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
        assert anchor in slugs, f"{file}#{anchor}"


def test_the_list_is_whole_and_names_what_there_is():
    claims = listed_claims()
    numbers = [f"A{n}" for n in range(1, 38)] + [f"B{n}" for n in range(1, 25)]
    assert [claim.number for claim in claims] == numbers
    questions = {question.name for question in grid_of("aws_docs", "cpu").questions}
    for claim in claims:
        assert set(claim.experiments) <= set(EXPERIMENTS)
        assert set(claim.questions) <= questions
        bears = (claim.experiments, claim.questions, claim.measured, claim.missing)
        assert any(bears) != bool(claim.untestable)
        assert not claim.unverified or claim.source


def test_what_has_no_seeds_has_no_verdict(evidence):
    claim = ListedClaim("A0", "a claim")
    for given, kind, said in (
        ({"measured": "a table"}, NO_VERDICT, "**no verdict** over seeds"),
        ({"measured": "a table", "missing": "x"}, NOT_YET, "**not yet**; missing: x"),
        ({"untestable": "y"}, UNTESTABLE, "**can't be tested**: y"),
        ({"experiments": ("majority_parity",)}, SETTLED, "**reproduced** ([majority_parity]"),
        ({"experiments": ("early_stopping",)}, UNSETTLED, "**inconclusive** ([early_stopping]"),
        ({"experiments": ("scratchpads",)}, UNSETTLED, "its design can't settle it)"),
        ({"experiments": ("half_longer",)}, SETTLED, "1 **contradicted**, 1 **inconclusive**"),
    ):
        found, cell = verdict_of(replace(claim, **given), evidence)
        assert found == kind
        assert said in cell


def test_a_question_is_answered_when_all_its_runs_are_there(evidence):
    waiting = answer(GRID, WORTH, None, {})
    assert waiting.verdicts == ()
    # 1,000 steps of 8,192 tokens each, as configs have them by default.
    assert (
        "Not yet: rates, pilots and a committed plan, then 6 runs, 49M tokens." in waiting.section
    )
    rates = {"one": 1e-3, "two": 1e-3}
    chosen = [*rate_runs(GRID, ["one", "two"]), *pilot_runs(GRID, WORTH, rates)]
    rows = {run.settings: row_for(run, losses(run)) for run in chosen}
    plan = make_plan(GRID, WORTH, rows)
    runs = main_runs(GRID, ["worth"], rates)
    rows |= {run.settings: row_for(run, losses(run)) for run in runs[:4]}
    half = answer(GRID, WORTH, plan, rows)
    assert half.verdicts == ()
    assert "Not yet: 2 of 6 runs" in half.section
    rows |= {run.settings: row_for(run, losses(run)) for run in runs}
    whole = answer(GRID, WORTH, plan, rows)
    assert whole.verdicts == ("reproduced", "reproduced")
    evidence.answers["worth"] = whole
    kind, cell = verdict_of(ListedClaim("A0", "a claim", questions=("worth",)), evidence)
    assert (kind, cell) == (SETTLED, "**reproduced** ([worth](#worth))")


def test_numbers_of_the_lessons():
    """By hand: 24 layers of 2,048 channels, 16 heads of 128, SwiGLU of 5,632, 50,433 ids."""
    matmuls = 24 * (4 * 2048 * 2048 + 3 * 2048 * 5632) + 2048 * 50_433

    def flops(tokens):
        pairs = tokens * (tokens + 1) // 2
        return 2 * tokens * matmuls + 4 * 24 * 2048 * pairs

    row, token = length_cost(8192, 131_072)
    assert row == pytest.approx(flops(131_072) / flops(8192), rel=1e-4)
    assert token == pytest.approx(row / 16)
    assert worse_beyond(StoredResults(DOCS).tasks["early_stopping"]) == (0, 10)
