"""The grids of experiments on text, by corpus and scale."""

from lengthwise.common.errors import UserError
from lengthwise.experiments.definitions.text.arms import epoch_arms, forming_arms, layout_arms
from lengthwise.experiments.definitions.text.questions import QUESTIONS
from lengthwise.experiments.definitions.text.scales import CORPORA, Scale
from lengthwise.experiments.text.design import Changes, RunGrid

GRIDS = tuple(CORPORA)


def grid_of(corpus: str, scale: str) -> RunGrid:
    """The grid of a corpus at a scale. Raises UserError: there is none."""
    if corpus not in CORPORA:
        raise UserError(f"--corpus={corpus} is unknown; choose one of {', '.join(GRIDS)}")
    changes, scales = CORPORA[corpus]
    for each in scales:
        if each.name == scale:
            return _grid(corpus, changes, each)
    names = ", ".join(each.name for each in scales)
    raise UserError(f"--scale={scale}: {corpus} has text for {names}; choose one of them")


def _grid(corpus: str, changes: Changes, scale: Scale) -> RunGrid:
    arms = (*forming_arms(scale), *layout_arms(scale), *epoch_arms(scale))
    return RunGrid(
        name=corpus,
        scale=scale.name,
        base=scale.base,
        common={**scale.common, **changes},
        length=scale.length,
        baseline="natural",
        arms=arms,
        questions=QUESTIONS,
        rates=dict.fromkeys((arm.family for arm in arms), scale.rates),
    )
