"""Experiment definitions: arms, claims about them, and the scales at which they run.

All of it is stated before anything runs; `experiments.statistics.verdict` has the decision rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ml_collections import ConfigDict

from lengthwise.common.errors import UserError
from lengthwise.configs import task

# Quantity that a claim compares: accuracy at tested lengths beyond the trained ones, or at those.
BEYOND, IN_RANGE = "beyond", "in range"
FALL = "in range above beyond"  # of one arm, named on both sides: its loss of accuracy beyond
GAP = "gap"  # max(accuracy in range - accuracy beyond, 0); the smaller is better
SAMPLES = "samples"  # in doublings, until 99 % of the selection samples are right; fewer is better
CRITICAL = "critical complexity"  # of two groups: the level of the largest gap; higher is better
MEASURES = (BEYOND, IN_RANGE, FALL, GAP, SAMPLES, CRITICAL)

# Dotted fields of a config -> values.
Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Arm:
    """One setting under comparison."""

    name: str  # and its folder
    label: str  # in tables and figures
    changes: Changes
    published: str  # the number that the source reports for it
    # Scale -> additional changes there.
    at_scale: Mapping[str, Changes] = field(default_factory=dict)
    group: str = ""  # shared by arms of several levels of complexity
    level: int = 0  # of complexity, in its group


@dataclass(frozen=True)
class Claim:
    """The claim that one arm beats another, both by name; of CRITICAL, one group another."""

    better: str
    worse: str
    margin: float  # smallest difference that counts, in the unit of the quantity
    where: str = BEYOND  # one of MEASURES

    def text(self, label: Callable[[str], str]) -> str:
        """The claim in words. label: name of an arm or group -> its label."""
        better, worse = label(self.better), label(self.worse)
        return {
            FALL: f"{better}: in range above beyond",
            GAP: f"{better}: smaller gap than {worse}",
            SAMPLES: f"{better}: fewer samples to 99 % than {worse}, doublings",
            CRITICAL: f"{better}: critical complexity above that of {worse}, levels",
        }.get(self.where, f"{better} above {worse}, {self.where}")


@dataclass(frozen=True)
class Trial:
    """One training run of an experiment: an arm under a seed."""

    arm: str
    seed: int
    changes: Changes

    @property
    def name(self) -> str:
        """Its folder, relative to the experiment's."""
        return f"{self.arm}/seed{self.seed}"

    def config(self) -> ConfigDict:
        """The config of its run, as `main.py` takes it."""
        config = task.get_config()
        config.update_from_flattened_dict(dict(self.changes))
        return config


@dataclass(frozen=True)
class Crossed:
    """A crossed design of seeds: each initialization with each order of the data.

    All else is equal over trials: samples, and the draws of dropout.
    """

    orders: int  # of the data; --seeds is a multiple
    success: float  # least exact match beyond the trained lengths that counts as generalization

    def changes(self, seed: int) -> Changes:
        return {
            "seed": 0,
            "seeds.initialization": seed // self.orders,
            "seeds.order": seed % self.orders,
            "data.task.seed": 0,
        }


@dataclass(frozen=True)
class ExperimentDefinition:
    """A question with arms, claims and scales; the first claim is the source's main one."""

    name: str
    question: str
    source: str
    published: str  # the source's scale and numbers
    tuning: str  # how the settings were chosen, and on which scores
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...]  # one family for Holm's correction
    scales: Mapping[str, Changes]  # differences from configs/task.py, equal for all arms
    # Scale -> names of arms too expensive there; claims about them are dropped with them.
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    crossed: Crossed | None = None  # None: one seed for every source of randomness
    # Scale -> result of an earlier design, where this one was stated after seeing it.
    earlier: Mapping[str, str] = field(default_factory=dict)
    # Scale -> known reasons why a claim wasn't reproduced there; written after the run.
    reasons: Mapping[str, str] = field(default_factory=dict)

    def changes_at(self, scale: str) -> Changes:
        """Differences from configs/task.py at a scale, equal for all arms.

        Raises:
          UserError: there is no such scale.
        """
        if scale not in self.scales:
            raise UserError(
                f"--scale={scale}: {self.name} has {', '.join(self.scales)}; choose one of them"
            )
        return self.scales[scale]

    def trials(self, scale: str, seeds: int) -> list[Trial]:
        """All arms under the first seed, then under the next one.

        `seed` is that of initialization, data order and dropout; `data.task.seed` that of the
        samples, scored ones included. They change together, unless `crossed` separates them. The
        bucket order is equal under all seeds, so that seeds of an arm can train together.

        Raises:
          UserError: no such scale, or the seeds don't fill the table of crossed ones.
        """
        common = {**self.changes_at(scale), "seeds.buckets": 0}
        if self.crossed is not None and (
            seeds % self.crossed.orders or seeds < 2 * self.crossed.orders
        ):
            raise UserError(
                f"--seeds={seeds}: {self.name} crosses initializations with {self.crossed.orders} "
                f"orders of the data; take {2 * self.crossed.orders} or a higher multiple of "
                f"{self.crossed.orders}"
            )
        return [
            Trial(
                arm.name,
                seed,
                {**common, **arm.changes, **arm.at_scale.get(scale, {}), **self._seeded(seed)},
            )
            for seed in range(seeds)
            for arm in self.arms_at(scale)
        ]

    def _seeded(self, seed: int) -> Changes:
        if self.crossed is not None:
            return self.crossed.changes(seed)
        return {"seed": seed, "data.task.seed": seed}

    def arms_at(self, scale: str) -> tuple[Arm, ...]:
        """The arms that run at a scale."""
        return tuple(arm for arm in self.arms if arm.name not in self.left_out.get(scale, ()))

    def claims_at(self, scale: str) -> tuple[Claim, ...]:
        """The claims about arms that run at a scale: the family that is judged there."""
        names = {arm.name for arm in self.arms_at(scale)}

        def runs(side: str) -> bool:
            return all(arm.name in names for arm in self.arms_of(side))

        return tuple(claim for claim in self.claims if runs(claim.better) and runs(claim.worse))

    def gate_arms(self, claim: Claim) -> tuple[str, ...]:
        """Arms that must have learned the trained lengths before the claim can be judged.

        A claim about those lengths, or about when they are learned, says itself that the worse arm
        fails there. Groups of CRITICAL are gated up to the level of their largest gap, which runs
        decide (`experiments.results`): at higher ones accuracy in range falls too, which is the
        subject of Scylla's valley.
        """
        if claim.where in (IN_RANGE, SAMPLES):
            return (claim.better,)
        return (claim.better, claim.worse)

    def arms_of(self, name: str) -> tuple[Arm, ...]:
        """The arm of this name, or the arms of this group.

        Raises:
          ValueError: there is neither.
        """
        arms = tuple(arm for arm in self.arms if name in (arm.name, arm.group))
        if not arms:
            raise ValueError(f"{self.name}: no arm or group {name!r}")
        return arms

    @property
    def arm_names(self) -> tuple[str, ...]:
        return tuple(arm.name for arm in self.arms)

    def label(self, name: str) -> str:
        """The label of an arm; a group's is its name."""
        return next((arm.label for arm in self.arms if arm.name == name), name)
