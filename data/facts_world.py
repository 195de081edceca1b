"""A small world of people, places and things, told fact by fact, with questions about it.

The families of bAbI (Weston et al. 2015, arXiv 1502.05698) by how many facts an answer needs: one,
two or three supporting facts, yes or no, counting. Names are given, so that any vocabulary will do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

AIMS = 4  # answers that a question may aim at: the number of things, or the truth
ATTEMPTS = 1000  # worlds that are drawn for a question before giving up


@dataclass(frozen=True)
class Names:
    """Names in the world; 2 people, 3 places and 1 thing at least."""

    people: Sequence[str]
    places: Sequence[str]
    things: Sequence[str]


@dataclass(frozen=True)
class Fact:
    """What one person did. Exactly one of place and thing is named."""

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
    """Who is where and holds what, with the number of the fact that says so."""

    at: dict[str, tuple[str, int]] = field(default_factory=dict)  # person -> place
    held: dict[str, tuple[str, int]] = field(default_factory=dict)  # thing -> person
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
            del self.held[fact.thing]
        else:
            self.held[fact.thing] = fact.person, number
        self.handled.setdefault(fact.person, []).append(number)


def history(rng: np.random.Generator, names: Names, facts: int) -> Iterator[Fact]:
    """Facts, each possible after those before it: only what is free is taken, only what is held is
    dropped, and who goes somewhere goes somewhere else."""
    world = World()
    for number in range(facts):
        person = _pick(rng, names.people)
        mine = [thing for thing, (holder, _) in world.held.items() if holder == person]
        free = [thing for thing in names.things if thing not in world.held]
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


def one_fact(rng: np.random.Generator, world: World, names: Names, aim: int) -> Question | None:
    """Where is a person?"""
    person = _pick(rng, names.people)
    if person not in world.at:
        return None
    place, number = world.at[person]
    return Question(person, None, None, place, (number,))


def two_facts(rng: np.random.Generator, world: World, names: Names, aim: int) -> Question | None:
    """Where is a thing that someone carries? Where they went since, after taking it."""
    for thing in rng.permutation(names.things).tolist():
        if thing in world.held:
            person, taken = world.held[thing]
            place, went = world.at.get(person, ("", -1))
            if went > taken:
                return Question(None, thing, None, place, (taken, went))
    return None


def three_facts(rng: np.random.Generator, world: World, names: Names, aim: int) -> Question | None:
    """Where was a thing before it was at the place where it is? It was carried to both."""
    for thing in rng.permutation(names.things).tolist():
        if thing in world.held:
            person, taken = world.held[thing]
            ways = [
                (number, place) for number, place in world.ways.get(person, []) if number > taken
            ]
            # Once at each: "before" has one meaning.
            if len(ways) >= 2 and sum(place == ways[-1][1] for _, place in ways) == 1:
                (before, answer), (last, place) = ways[-2:]
                return Question(None, thing, place, answer, (taken, before, last))
    return None


def yes_no(rng: np.random.Generator, world: World, names: Names, aim: int) -> Question | None:
    """Is a person at a place? As often yes as no."""
    where = one_fact(rng, world, names, aim)
    if where is None:
        return None
    truth = aim % 2 == 0
    others = [p for p in names.places if p != where.answer]
    place = str(where.answer) if truth else _pick(rng, others)
    return Question(where.person, None, place, truth, where.support)


def counting(rng: np.random.Generator, world: World, names: Names, aim: int) -> Question | None:
    """How many things does a person carry? Each number of 0 to 3 as often as the others."""
    for person in rng.permutation(names.people).tolist():
        count = sum(holder == person for holder, _ in world.held.values())
        if count == aim and person in world.handled:
            return Question(person, None, None, count, tuple(world.handled[person]))
    return None


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

    Raises ValueError: none of many histories has one, so that it takes more facts or names.
    """
    # Drawn once: answers that few histories allow would else be rare.
    aim = int(rng.integers(AIMS))
    for _ in range(ATTEMPTS):
        told = tuple(history(rng, names, facts))
        world = World()
        for number, fact in enumerate(told):
            world.tell(number, fact)
        question = FAMILIES[family](rng, world, names, aim)
        if question is not None:
            return told, question
    raise ValueError(f"no history of {facts} facts has a question of the family {family!r}")


def _pick(rng: np.random.Generator, among: Sequence[str]) -> str:
    return among[int(rng.integers(len(among)))]
