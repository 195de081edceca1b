"""A small world of people, places and things: a history of facts, and questions about it.

The families of bAbI (Weston et al. 2015, arXiv 1502.05698) by how many facts an answer needs: one,
two or three supporting facts, yes or no, counting. Names are given, so that any vocabulary will do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

AIMS = 4  # answers that a question may aim at: the number of things, or the truth
ATTEMPTS = 10_000  # worlds that are drawn for a question before giving up


@dataclass(frozen=True)
class Names:
    """Names in the world; 2 people, 3 places and 1 thing at least."""

    people: Sequence[str]
    places: Sequence[str]
    things: Sequence[str]


@dataclass(frozen=True)
class Fact:
    """One event: a person goes to a place, takes or drops a thing; exactly one of the last two."""

    person: str
    place: str | None = None  # where they went
    thing: str | None = None  # what they took, or dropped
    drops: bool = False


@dataclass(frozen=True)
class Question:
    """A question about a history, and what it takes to answer it."""

    person: str | None
    thing: str | None
    place: str | None  # that is asked about, or before which something was elsewhere
    answer: str | int | bool
    support: tuple[int, ...]  # numbers of the facts that the answer needs, ascending


@dataclass
class World:
    """State of the world, with the number of the fact behind each part of it."""

    at: dict[str, tuple[str, int]] = field(default_factory=dict)  # person -> place
    carried: dict[str, tuple[str, int]] = field(default_factory=dict)  # thing -> who carries it
    # person -> (number, place) of every time that they went, in order
    ways: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    # person -> numbers of the facts in which they took or dropped something
    handled: dict[str, list[int]] = field(default_factory=dict)

    def tell(self, number: int, fact: Fact) -> None:
        if fact.place is not None:
            self.at[fact.person] = fact.place, number
            self.ways.setdefault(fact.person, []).append((number, fact.place))
            return
        assert fact.thing is not None
        if fact.drops:
            del self.carried[fact.thing]
        else:
            self.carried[fact.thing] = fact.person, number
        self.handled.setdefault(fact.person, []).append(number)


def history(rng: np.random.Generator, names: Names, facts: int) -> Iterator[Fact]:
    """Facts, each possible after those before it: only what is free is taken, only what is held is
    dropped, and who goes somewhere goes somewhere else."""
    world = World()
    for number in range(facts):
        person = _pick(rng, names.people)
        mine = [thing for thing, (holder, _) in world.carried.items() if holder == person]
        free = [thing for thing in names.things if thing not in world.carried]
        chance = rng.uniform()
        if chance < 0.3 and free:
            fact = Fact(person, thing=_pick(rng, free))
        elif chance < 0.4 and mine:
            fact = Fact(person, thing=_pick(rng, mine), drops=True)
        else:
            here = world.at.get(person, ("", 0))[0]
            fact = Fact(person, place=_pick(rng, [p for p in names.places if p != here]))
        world.tell(number, fact)
        yield fact


def one_fact(rng: np.random.Generator, world: World, names: Names, aim: int) -> Iterator[Question]:
    """Question for the place of a person."""
    for person in rng.permutation(names.people).tolist():
        if person in world.at:
            place, number = world.at[person]
            yield Question(person, None, None, place, (number,))


def two_facts(rng: np.random.Generator, world: World, names: Names, aim: int) -> Iterator[Question]:
    """Question for the place of a thing that someone carries: where they went since taking it."""
    for thing in rng.permutation(names.things).tolist():
        if thing in world.carried:
            person, taken = world.carried[thing]
            place, went = world.at.get(person, ("", -1))
            if went > taken:
                yield Question(None, thing, None, place, (taken, went))


def three_facts(
    rng: np.random.Generator, world: World, names: Names, aim: int
) -> Iterator[Question]:
    """Question for the place of a thing before its present one; it was carried to both."""
    for thing in rng.permutation(names.things).tolist():
        if thing in world.carried:
            person, taken = world.carried[thing]
            ways = [
                (number, place) for number, place in world.ways.get(person, []) if number > taken
            ]
            # Once at each: "before" has one meaning.
            if len(ways) >= 2 and sum(place == ways[-1][1] for _, place in ways) == 1:
                (before, answer), (last, place) = ways[-2:]
                yield Question(None, thing, place, answer, (taken, before, last))


def yes_no(rng: np.random.Generator, world: World, names: Names, aim: int) -> Iterator[Question]:
    """Question whether a person is at a place; as often yes as no."""
    truth = aim % 2 == 0
    for where in one_fact(rng, world, names, aim):
        others = [p for p in names.places if p != where.answer]
        place = str(where.answer) if truth else _pick(rng, others)
        yield Question(where.person, None, place, truth, where.support)


def counting(rng: np.random.Generator, world: World, names: Names, aim: int) -> Iterator[Question]:
    """Question for the number of things that a person carries; 0 to 3, each as often."""
    for person in rng.permutation(names.people).tolist():
        count = sum(holder == person for holder, _ in world.carried.values())
        if count == aim and person in world.handled:
            yield Question(person, None, None, count, tuple(world.handled[person]))


# Each gives the questions that a history allows, in random order.
FAMILIES = {
    "one_fact": one_fact,
    "two_facts": two_facts,
    "three_facts": three_facts,
    "yes_no": yes_no,
    "counting": counting,
}


def story(
    rng: np.random.Generator, names: Names, family: str, facts: int
) -> tuple[tuple[Fact, ...], Question]:
    """A history of `facts` facts with a question of the family.

    A place that is the answer, or of which one is asked whether it is, is the one that was named
    last, the one before that, ..., each as often, and the most frequent one as often as a guess is
    right: people mostly are where the last facts say, and the last place would be right more often
    than not.

    Raises ValueError: none of many histories has one, so that it takes more facts or names.
    """
    # Drawn once: answers that few histories allow would else be rare.
    aim, recent, often = int(rng.integers(AIMS)), rng.uniform(), rng.uniform()
    for _ in range(ATTEMPTS):
        told = tuple(history(rng, names, facts))
        world = World()
        for number, fact in enumerate(told):
            world.tell(number, fact)
        for question in FAMILIES[family](rng, world, names, aim):
            if _in_place(world, names, question, recent, often):
                return told, question
    raise ValueError(f"no history of {facts} facts has a question of the family {family!r}")


def _in_place(world: World, names: Names, question: Question, recent: float, often: float) -> bool:
    """Whether the place in question is at the share `recent` of all places by when they were last
    named, and whether it is the one named most often as `often`, a number below 1, says.

    A question that names a place beside its answer leaves that one out.
    """
    if isinstance(question.answer, bool):
        place, named = question.place, None
    elif isinstance(question.answer, str):
        place, named = question.answer, question.place
    else:
        return True
    steps = sorted(step for way in world.ways.values() for step in way)
    last = {where: number for number, where in steps if where != named}
    count = len(names.places) - (named is not None)
    if len(last) < count or sorted(last, key=lambda p: -last[p])[int(recent * count)] != place:
        return False
    times = Counter(where for _, where in steps)
    most = [where for where in last if times[where] == max(times[other] for other in last)]
    # One of several that are named most often passes either way: that tells nothing.
    return place in most if often * count < 1 else most != [place]


def _pick(rng: np.random.Generator, among: Sequence[str]) -> str:
    return among[int(rng.integers(len(among)))]
