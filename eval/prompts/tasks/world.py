"""Tasks on a small world whose facts are spread over held-out text, after BABILong.

The facts are those of `facts_world.py`: bAbI's families (arXiv 1502.05698), in a haystack as
BABILong (arXiv 2406.10149) has them.
"""

from __future__ import annotations

from collections.abc import Sequence

from lengthwise.eval.prompts.facts_world import Fact, Names, Question, story
from lengthwise.eval.prompts.prompt import Answer, Material, Vocabulary
from lengthwise.eval.prompts.registry import TASKS
from lengthwise.eval.prompts.tasks.lookups import CANDIDATES, depths

PEOPLE, THINGS = 3, 4
FACTS = 12  # of a story: the longest chain takes three of them, the others distract
# Of several sets of words the first whose words have equally many tokens is taken.
TRUTH = ((" right", " wrong"), (" true", " false"), (" yes", " not"))
COUNTS = ((" 0", " 1", " 2", " 3"), (" none", " one", " two", " three"))


@TASKS.register("one_fact", dispersion="mid", scope="low")
def one_fact(words: Vocabulary) -> Material:
    """Place of a person."""
    places, facts, question = _story(words, "one_fact")
    return _material(words, facts, question, f"{question.person} is in", _other(places, question))


@TASKS.register("two_facts", dispersion="mid", scope="mid")
def two_facts(words: Vocabulary) -> Material:
    """Place of a thing that a person carried away."""
    places, facts, question = _story(words, "two_facts")
    return _material(words, facts, question, f"{question.thing} is in", _other(places, question))


@TASKS.register("three_facts", dispersion="high", scope="mid")
def three_facts(words: Vocabulary) -> Material:
    """Place of a thing before its present one."""
    # One place more: no model takes the one that the question names for the answer.
    places, facts, question = _story(words, "three_facts", CANDIDATES + 1)
    clause = f"Before{question.place},{question.thing} was in"
    return _material(words, facts, question, clause, _other(places, question))


@TASKS.register("yes_no", dispersion="mid", scope="low")
def yes_no(words: Vocabulary) -> Material:
    """Truth of a person being at a place."""
    right, wrong = words.equal(TRUTH)
    _, facts, question = _story(words, "yes_no")
    clause = f"That{question.person} is in{question.place} is"
    candidates = (right, wrong) if question.answer else (wrong, right)
    return _material(words, facts, question, clause, candidates)


@TASKS.register("counting", dispersion="high", scope="mid")
def counting(words: Vocabulary) -> Material:
    """Number of things that a person carries."""
    named = words.equal(COUNTS)
    _, facts, question = _story(words, "counting")
    count = int(question.answer)
    candidates = (named[count], *(word for i, word in enumerate(named) if i != count))
    return _material(
        words, facts, question, f"The count of what{question.person} carries is", candidates
    )


def _story(
    words: Vocabulary, family: str, count: int = CANDIDATES
) -> tuple[list[str], tuple[Fact, ...], Question]:
    places = words.keys(count)
    names = Names(words.keys(PEOPLE), places, words.keys(THINGS))
    return places, *story(words.rng, names, family, FACTS)


def _other(places: Sequence[str], question: Question) -> tuple[str, ...]:
    """Candidates: the answer and the places that the question does not name."""
    answer = str(question.answer)
    return answer, *(place for place in places if place not in (answer, question.place))


def _material(
    words: Vocabulary,
    facts: Sequence[Fact],
    question: Question,
    clause: str,
    candidates: tuple[str, ...],
) -> Material:
    sentences = [_sentence(fact) for fact in facts]
    steps = "".join(sentences[number] for number in question.support)
    return Material(
        "Remember who goes where and takes what. ",
        tuple(sentences),
        depths(words.rng, len(sentences)),
        words.prose,
        clause.strip(),
        (Answer(candidates),),
        f"{steps}So{clause}" if clause.startswith(" ") else f"{steps}{clause}",
    )


def _sentence(fact: Fact) -> str:
    if fact.place is not None:
        return f"Now{fact.person} went to{fact.place}. "
    return f"Now{fact.person} {'dropped' if fact.drops else 'took'}{fact.thing}. "
