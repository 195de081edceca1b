"""What an experiment is: arms, claims about them, and scales at which it can be run.

All of it is stated before anything is run; `experiments.verdict` has the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ml_collections import ConfigDict

from lengthwise.common.errors import UserError
from lengthwise.configs import task

# What a claim is about: accuracy at the tested lengths beyond the trained ones, or at trained ones.
BEYOND, IN_RANGE = "beyond", "in range"
FALL = "in range above beyond"  # of one arm, named on both sides: how much less is right beyond
GAP = "gap"  # the smaller max(accuracy in range - accuracy beyond, 0)
SAMPLES = "samples"  # the fewer samples until 99 % of the selection samples are right, in doublings
CRITICAL = "critical complexity"  # of two groups: the higher level with the largest gap, in levels
MEASURES = (BEYOND, IN_RANGE, FALL, GAP, SAMPLES, CRITICAL)

# Dotted fields of a config -> values.
Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Arm:
    """One of the settings that are compared."""

    name: str  # also of its folder
    label: str
    changes: Changes
    published: str  # what the source reports for it
    # Scale -> changes that it needs there besides.
    at_scale: Mapping[str, Changes] = field(default_factory=dict)
    group: str = ""  # what arms of several levels of complexity share
    level: int = 0  # of complexity, in its group


@dataclass(frozen=True)
class Claim:
    """That an arm is better than another; both by name. CRITICAL: a group than another."""

    better: str
    worse: str
    margin: float  # the smallest difference that counts, in the unit of what is measured
    where: str = BEYOND  # one of MEASURES

    def says(self, label: Callable[[str], str]) -> str:
        """In words. label: of an arm or a group by its name."""
        better, worse = label(self.better), label(self.worse)
        return {
            FALL: f"{better}: in range above beyond",
            GAP: f"{better}: smaller gap than {worse}",
            SAMPLES: f"{better}: fewer samples to 99 % than {worse}, doublings",
            CRITICAL: f"{better}: critical complexity above that of {worse}, levels",
        }.get(self.where, f"{better} above {worse}, {self.where}")


@dataclass(frozen=True)
class Cell:
    """One run: an arm under a seed."""

    arm: str
    seed: int
    changes: Changes

    @property
    def name(self) -> str:
        """Its folder below that of the experiment."""
        return f"{self.arm}/seed{self.seed}"

    def config(self) -> ConfigDict:
        """That of `main.py`."""
        config = task.get_config()
        config.update_from_flattened_dict(dict(self.changes))
        return config


@dataclass(frozen=True)
class Crossed:
    """Seeds of which each initialization is trained with each order of the data, and all else is
    the same: samples, and dropout's draws."""

    orders: int  # of the data; --seeds is a multiple of it
    success: float  # least exact match beyond the trained lengths that counts as generalization

    def changes(self, seed: int) -> Changes:
        return {
            "seed": 0,
            "seeds.initialization": seed // self.orders,
            "seeds.order": seed % self.orders,
            "data.task.seed": 0,
        }


@dataclass(frozen=True)
class Experiment:
    """A question to settle; the first claim is the one that the source is known for."""

    name: str
    question: str
    source: str
    published: str  # scale and numbers of the source
    tuning: str  # how the settings were chosen, and on which scores
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...]  # a family: Holm's correction is over them
    scales: Mapping[str, Changes]  # short differences from configs/task.py, the same for all arms
    # Scale -> names of the arms that don't fit there: neither they nor claims about them are run.
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    crossed: Crossed | None = None  # None: a seed is of all that chance decides
    # Scale -> what an earlier design of it gave, where this one was stated after that.
    earlier: Mapping[str, str] = field(default_factory=dict)
    # Scale -> why a claim wasn't reproduced there, as far as known. This is written after the run.
    reasons: Mapping[str, str] = field(default_factory=dict)

    def changes_at(self, scale: str) -> Changes:
        """Raises UserError: there is no such scale."""
        if scale not in self.scales:
            raise UserError(
                f"--scale={scale}: {self.name} has {', '.join(self.scales)}; choose one of them"
            )
        return self.scales[scale]

    def cells(self, scale: str, seeds: int) -> list[Cell]:
        """All arms under the first seed, then under the next one.

        `seed` is of initialization, order of the data and dropout; `data.task.seed` of the samples,
        those that are scored included. Both move together, unless `crossed` tells them apart. The
        order of the buckets is the same under all seeds, so that those of an arm can be trained
        together.

        Raises UserError: no such scale, or seeds that don't fill the table of crossed ones.
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
            Cell(
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
        """Those that are run at a scale."""
        return tuple(arm for arm in self.arms if arm.name not in self.left_out.get(scale, ()))

    def claims_at(self, scale: str) -> tuple[Claim, ...]:
        """Those whose arms are run at a scale: the family that is judged there."""
        run = self.arms_at(scale)
        return tuple(
            claim
            for claim in self.claims
            if all(arm in run for side in (claim.better, claim.worse) for arm in self.named(side))
        )

    def gated(self, claim: Claim) -> tuple[str, ...]:
        """The arms that must know the trained lengths, or the claim can't be judged.

        Where it is about those lengths, or about when they are known, the worse arm fails there by
        the claim itself. Of groups it is the arms of the lowest level: at higher ones accuracy in
        range falls too, which is what Scylla's valley is about.
        """
        if claim.where in (IN_RANGE, SAMPLES):
            return (claim.better,)
        sides = [self.named(side) for side in (claim.better, claim.worse)]
        return tuple(min(arms, key=lambda arm: arm.level).name for arms in sides)

    def named(self, name: str) -> tuple[Arm, ...]:
        """The arm of a name, or the arms of a group; ValueError where there is neither."""
        found = tuple(arm for arm in self.arms if name in (arm.name, arm.group))
        if not found:
            raise ValueError(f"{self.name}: no arm or group {name!r}")
        return found

    @property
    def arm_names(self) -> tuple[str, ...]:
        return tuple(arm.name for arm in self.arms)

    def label(self, name: str) -> str:
        """Of an arm; a group's name is its label."""
        return next((arm.label for arm in self.arms if arm.name == name), name)
