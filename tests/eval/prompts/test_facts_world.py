"""The world of facts: every history is possible, every answer follows from its support alone."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.eval.prompts.facts_world import FAMILIES, Names, story

NAMES = Names(
    ("ann", "bob", "cid"), ("attic", "bath", "cellar", "den"), ("egg", "fan", "gum", "hat")
)


def replay(facts):
    """(person -> place, thing -> holder, thing -> places that it was carried to, in order)."""
    at, holder, carried = {}, {}, {}
    for fact in facts:
        if fact.place is not None:
            assert at.get(fact.person) != fact.place
            at[fact.person] = fact.place
            for thing, who in holder.items():
                if who == fact.person:
                    carried.setdefault(thing, []).append(fact.place)
        elif fact.drops:
            assert holder.pop(fact.thing) == fact.person
        else:
            assert fact.thing not in holder
            holder[fact.thing] = fact.person
            carried[fact.thing] = []
    return at, holder, carried


def answered(family, question, facts):
    at, holder, carried = replay(facts)
    if family == "one_fact":
        return at.get(question.person)
    if family == "yes_no":
        return at.get(question.person) == question.place
    if family == "counting":
        return list(holder.values()).count(question.person)
    places = carried.get(question.thing) or [None]
    if family == "two_facts":
        return places[-1]
    return places[-2] if len(places) > 1 and places[-1] == question.place else None


@pytest.mark.parametrize("family", FAMILIES)
@given(seed=st.integers(0, 2**31), facts=st.integers(8, 30))
def test_answers_follow_from_all_facts_and_from_the_supporting_ones_alone(family, seed, facts):
    told, question = story(np.random.default_rng(seed), NAMES, family, facts)
    assert len(told) == facts
    assert answered(family, question, told) == question.answer
    support = [told[number] for number in question.support]
    assert list(question.support) == sorted(set(question.support))
    assert answered(family, question, support) == question.answer
    needed = {"one_fact": 1, "yes_no": 1, "two_facts": 2, "three_facts": 3}
    assert len(support) == needed.get(family, len(support))
    if family in ("two_facts", "three_facts"):  # none of them can be left out
        for left_out in support:
            rest = [fact for fact in support if fact is not left_out]
            assert answered(family, question, rest) != question.answer


def test_answers_are_spread_and_the_same_seed_tells_the_same():
    drawn = {
        family: Counter(
            story(np.random.default_rng(seed), NAMES, family, 12)[1].answer for seed in range(200)
        )
        for family in FAMILIES
    }
    assert set(drawn["yes_no"]) == {True, False}
    assert min(drawn["yes_no"].values()) > 70
    assert set(drawn["counting"]) == {0, 1, 2, 3}
    assert min(drawn["counting"].values()) > 25
    assert len(drawn["three_facts"]) == 4
    first, second = (story(np.random.default_rng(3), NAMES, "counting", 12) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("family", ["one_fact", "two_facts", "three_facts", "yes_no"])
def test_neither_the_last_place_nor_the_most_frequent_is_the_answer_more_often_than_not(family):
    recent, most = Counter(), Counter()
    for seed in range(400):
        told, question = story(np.random.default_rng(seed), NAMES, family, 12)
        truth = question.answer if family == "yes_no" else True
        place = question.place if family == "yes_no" else question.answer
        named = [fact.place for fact in told if fact.place is not None]
        if family == "three_facts":  # nobody takes the place that the question names
            named = [where for where in named if where != question.place]
        by_last = list(dict.fromkeys(reversed(named)))
        recent[truth, by_last.index(place)] += 1
        counts = Counter(named)
        best = [where for where in counts if counts[where] == max(counts.values())]
        most[truth] += (place in best) / len(best)
    truths = {truth for truth, _ in recent}
    assert truths == ({True, False} if family == "yes_no" else {True})
    for truth in truths:
        counts = np.array([recent[truth, rank] for rank in range(3 + (family != "three_facts"))])
        shares = counts / counts.sum()
        assert shares == pytest.approx(1 / shares.size, abs=0.09)
        assert most[truth] / counts.sum() == pytest.approx(1 / shares.size, abs=0.09)


def test_too_short_a_history_is_refused():
    with pytest.raises(ValueError, match="2 facts has a question of the family 'three_facts'"):
        story(np.random.default_rng(0), NAMES, "three_facts", 2)
