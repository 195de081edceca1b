"""Designs of experiments on text: arms, claims, questions, and the grid that they share."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from lengthwise.common.errors import UserError
from lengthwise.configs.base import RunConfig
from lengthwise.configs.resolve import load
from lengthwise.eval.config import tested_contexts
from lengthwise.experiments.statistics.power import FEWEST_SEEDS
from lengthwise.experiments.text.measures import Measure

# Dotted fields of a config -> values.
Changes = Mapping[str, Any]

MIN_GAIN = 0.03  # nats/token from L/4 to L: a baseline that gains less makes no use of context
RATE = "optimizer.learning_rate"
# Settings of scoring that don't move targets, documents or masks.
_FREE_IN_EVAL = ("checkpoint", "average", "methods", "multipliers", "scorer_methods", "compare")


@dataclass(frozen=True)
class TextArm:
    """One setting under comparison."""

    name: str  # and its folder
    label: str  # in tables
    changes: Changes
    family: str  # arms of a family share the choice of a learning rate
    published: str = "-"  # the number that the source reports for it
    after: str = ""  # arm whose weights, of the same seed and at the base's rate, it starts from


@dataclass(frozen=True)
class TextClaim:
    """The claim that one arm is better than another, by name, or equal to it."""

    better: str
    worse: str
    measure: Measure
    margin: float  # smallest difference that counts, in the unit of the measure
    equal: bool = False  # whether the claim is that they differ by less
    against: Measure | None = None  # measure of the worse side; None: the same
    matched: str = "tokens"  # the budget at which the arms are compared, one of BUDGETS

    def text(self, label: Callable[[str], str]) -> str:
        """The claim in words. label: name of an arm -> its label."""
        better, worse = label(self.better), label(self.worse)
        if self.against is not None:
            better, worse = f"{better}, {self.measure.name}", f"{worse}, {self.against.name}"
            return f"{better}: {'as' if self.equal else 'better than'} {worse}"
        relation = "equal to" if self.equal else "better than"
        matched = "" if self.matched == "tokens" else f", at equal {self.matched}"
        return f"{better} {relation} {worse}: {self.measure.name}{matched}"


@dataclass(frozen=True)
class TextQuestion:
    """A question with its claims, the main one first: a family for Holm's correction."""

    name: str
    question: str
    source: str
    published: str
    about: str  # when use of context forms, or what layouts are worth after it
    claims: tuple[TextClaim, ...]
    seeds: int  # of each arm, the first ones of the grid
    baseline: str = ""  # arm of its gate and its pilots; "": the grid's
    exploratory: bool = False  # its claims have fewer seeds than their power asks for
    shares: tuple[tuple[str, Measure], ...] = ()  # (arm, measure of 0 or 1): shares of runs

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms that it compares, in the order of its claims."""
        sides = [side for claim in self.claims for side in (claim.better, claim.worse)]
        return tuple(dict.fromkeys([*sides, *(arm for arm, _ in self.shares)]))


@dataclass(frozen=True)
class RunGrid:
    """All arms and questions of one corpus at one scale."""

    name: str  # of the corpus
    scale: str  # cpu | gpu | pod
    base: Callable[[], ConfigDict]
    common: Changes  # of all arms
    length: int  # L, tokens
    baseline: (
        str  # arm whose gain is the gate, and whose pilots give the deviation; see TextQuestion
    )
    arms: tuple[TextArm, ...]
    questions: tuple[TextQuestion, ...]
    rates: Mapping[str, tuple[float, ...]]  # family -> learning rates that are tried
    pilot_seeds: tuple[int, ...] = (1000, 1001, 1002, 1003)
    rate_seeds: tuple[int, ...] = (2000, 2001)

    @property
    def title(self) -> str:
        """Name of its folder and files."""
        return f"{self.name}-{self.scale}"

    def arm(self, name: str) -> TextArm:
        """The arm of this name. Raises UserError: there is none."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise UserError(f"{self.title}: there is no arm {name!r}; {_nearest(name, self._names)}")

    def question(self, name: str) -> TextQuestion:
        """The question of this name. Raises UserError: there is none."""
        for question in self.questions:
            if question.name == name:
                return question
        names = [question.name for question in self.questions]
        raise UserError(f"{self.title}: there is no question {name!r}; choose among {names}")

    @property
    def compared(self) -> set[str]:
        """Names of the arms that questions compare, and of their baselines."""
        sides = {arm for question in self.questions for arm in question.arms}
        return sides | {self.baseline_of(question).name for question in self.questions}

    @property
    def _names(self) -> list[str]:
        return [arm.name for arm in self.arms]

    def baseline_of(self, question: TextQuestion) -> TextArm:
        """The arm of a question's gate and pilots."""
        return self.arm(question.baseline or self.baseline)

    def pilots_of(self, question: TextQuestion) -> list[TextArm]:
        """The arms of a question's pilots: the baseline's, and that of the main claim's other side
        where both start from the same weights, since seeds pair them."""
        baseline, main = self.baseline_of(question), question.claims[0]
        others = [self.arm(name) for name in (main.better, main.worse) if name != baseline.name]
        paired = [arm for arm in others if arm.after and arm.after == baseline.after]
        return [baseline, *paired[:1]] if len(others) == 1 else [baseline]

    def config(self, arm: TextArm) -> ConfigDict:
        """The config of an arm, without seed and rate.

        Raises:
          UserError: it names a field that there is none of.
        """
        config = self.base()
        for name, value in {**self.common, **arm.changes}.items():
            try:
                config.update_from_flattened_dict({name: value})
            except (KeyError, TypeError, ValueError) as error:
                fields = _fields(self.base())
                raise UserError(
                    f"{self.title}: arm {arm.name}: {name}={value!r} is no field of a config; "
                    f"{_nearest(name, fields)}"
                ) from error
        return config

    def check(self) -> None:
        """Checks the design.

        Raises:
          UserError: an arm with unknown fields, a claim between arms of different targets, a
            margin of 0, fewer seeds than any verdict needs.
        """
        if len(set(self._names)) < len(self.arms):
            raise UserError(f"{self.title}: two arms have one name; rename one of them")
        main = range(max(question.seeds for question in self.questions))
        if reused := set(main) & {*self.pilot_seeds, *self.rate_seeds}:
            raise UserError(
                f"{self.title}: seeds {sorted(reused)} are of pilots or rates too; a run that "
                "chose a design doesn't count in it: choose other seeds"
            )
        targets = {arm.name: self._targets(arm) for arm in self.arms}
        for arm in self.arms:
            if arm.family not in self.rates:
                raise UserError(
                    f"{self.title}: arm {arm.name}: family {arm.family!r} has no rates to choose "
                    f"among; {_nearest(arm.family, list(self.rates))}"
                )
            if arm.after:
                self.arm(arm.after)
        for question, claim in self._claims():
            self._check_claim(question, claim, targets)

    def _claims(self) -> Iterator[tuple[TextQuestion, TextClaim]]:
        return ((question, claim) for question in self.questions for claim in question.claims)

    def _check_claim(
        self, question: TextQuestion, claim: TextClaim, targets: Mapping[str, Any]
    ) -> None:
        where = f"{self.title}: {question.name}: {claim.text(str)}"
        if not claim.margin > 0:
            raise UserError(
                f"{where}: margin {claim.margin}: an effect of no size can't be told from chance; "
                "state the smallest one that counts"
            )
        if question.seeds < FEWEST_SEEDS:
            raise UserError(
                f"{where}: {question.seeds} seeds: a verdict needs {FEWEST_SEEDS} at least"
            )
        for name in (claim.better, claim.worse):
            self.arm(name)
        if differing := _differing(targets[claim.better], targets[claim.worse]):
            raise UserError(
                f"{where}: the arms are scored on different targets ({', '.join(differing)}); "
                "set these in `common`, for all arms"
            )

    def _targets(self, arm: TextArm) -> dict[str, Any]:
        """Everything that decides which tokens an arm is scored on, and under which mask."""
        resolved: RunConfig = load(self.config(arm), None)
        trained = resolved.phases[-1].layout.largest_bucket
        tree = resolved.resolved
        return {
            "longest context": tested_contexts(resolved.eval, trained)[-1],
            **{f"data.{name}": value for name, value in tree["data"].items() if name != "store"},
            **{
                f"eval.{name}": value
                for name, value in tree["eval"].items()
                if name not in _FREE_IN_EVAL
            },
        }

    def label(self, name: str) -> str:
        """The label of an arm."""
        return self.arm(name).label


def _fields(config: ConfigDict, prefix: str = "") -> list[str]:
    """Dotted names of all fields."""
    names: list[str] = []
    for name, value in config.items():
        inside = isinstance(value, ConfigDict)
        names += _fields(value, f"{prefix}{name}.") if inside else [f"{prefix}{name}"]
    return names


def _nearest(name: str, names: list[str]) -> str:
    return f"nearest: {', '.join(difflib.get_close_matches(name, names, n=3, cutoff=0.0))}"


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [name for name in one if one[name] != other[name]]
