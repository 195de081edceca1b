"""Designs: what can't be tested is refused in one line; the published grids can be run."""

from dataclasses import replace

import pytest

from lengthwise.common.errors import UserError
from lengthwise.experiments.definitions.text import grid_of
from lengthwise.experiments.definitions.text.scales import CORPORA
from lengthwise.experiments.text.design import TextClaim
from lengthwise.experiments.text.measures import nll
from tests.experiments.text.planted import GRID, WORTH

PUBLISHED = [(corpus, each.name) for corpus, (_, scales) in CORPORA.items() for each in scales]


def with_arm(**changes):
    return replace(GRID, arms=(replace(GRID.arms[0], **changes), *GRID.arms[1:]))


def with_claim(**changes):
    claim = replace(TextClaim("good", "bad", nll(1), 0.1), **changes)
    return replace(GRID, questions=(replace(WORTH, claims=(claim,)),))


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (
            with_arm(changes={"optimizer.lr": 1}),
            r"arm good: optimizer.lr=1 is no field of a config; nearest: optimizer\.",
        ),
        (with_arm(changes={"phase.steps": "many"}), r"arm good: phase.steps='many'"),
        (
            with_arm(family="three"),
            r"family 'three' has no rates to choose among; nearest: two, one",
        ),
        (with_arm(after="gone"), r"no arm 'gone'; nearest: "),
        (with_arm(name="bad"), r"two arms have one name"),
        (with_claim(margin=0.0), r"margin 0.0: an effect of no size"),
        (with_claim(margin=-1.0), r"margin -1.0: an effect of no size"),
        (with_claim(worse="worst"), r"no arm 'worst'; nearest"),
        (
            with_arm(changes={"eval.documents": 7}),
            r"scored on different targets \(eval.documents\); set these in `common`",
        ),
        (with_arm(changes={"eval.seed": 1}), r"different targets \(eval.seed\)"),
        (with_arm(changes={"data.split_seed": 1}), r"different targets \(data.split_seed\)"),
        (
            with_arm(changes={"phase.layout.largest_bucket": 128}),
            r"different targets \(longest context\)",
        ),
        (
            replace(GRID, questions=(replace(WORTH, seeds=2),)),
            r"2 seeds: a verdict needs 3 at least",
        ),
        (
            replace(GRID, pilot_seeds=(2, 1001)),
            r"seeds \[2\] are of pilots or rates too; a run that chose a design doesn't count",
        ),
    ],
)
def test_bad_designs_are_refused_in_one_line(grid, message):
    with pytest.raises(UserError, match=message) as error:
        grid.check()
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("plant-cpu: ")


def test_arms_may_differ_in_what_moves_no_target():
    with_arm(changes={"eval.methods": ("ntk",), "model.layers": 2}).check()


@pytest.mark.parametrize(("corpus", "scale"), PUBLISHED)
def test_published_grids_can_be_run(corpus, scale):
    grid = grid_of(corpus, scale)
    grid.check()
    for question in grid.questions:
        assert question.claims
        assert question.about
        assert grid.baseline_of(question)
    # Every arm is there for a question, or for others to start from.
    used = {name for question in grid.questions for name in question.arms}
    starts = {arm.after for arm in grid.arms if arm.after}
    assert {arm.name for arm in grid.arms} <= used | starts


def test_unknown_corpora_scales_and_questions_are_named():
    with pytest.raises(UserError, match=r"--corpus=x is unknown; choose one of aws_docs, stdlib"):
        grid_of("x", "cpu")
    with pytest.raises(UserError, match=r"--scale=pod: stdlib has text for cpu; choose"):
        grid_of("stdlib", "pod")
    with pytest.raises(UserError, match=r"no question 'x'; choose among \['worth', 'when'\]"):
        GRID.question("x")


def test_claims_in_words():
    label = GRID.label
    assert TextClaim("good", "bad", nll(1), 0.1).text(label) == (
        "the good one better than the bad one: NLL at 1 L"
    )
    equal = TextClaim("good", "bad", nll(2), 0.1, equal=True, matched="flops")
    assert equal.text(label) == "the good one equal to the bad one: NLL at 2 L, at equal flops"
    same = TextClaim("bad", "bad", nll(4, "yarn"), 0.1, against=nll(4, "ntk"))
    assert same.text(label) == (
        "the bad one, NLL at 4 L by yarn: better than the bad one, NLL at 4 L by ntk"
    )
