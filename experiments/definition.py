"""What an experiment is: arms, claims about them, and scales at which it can be run.

All of it is stated before anything is run; `experiments.verdict` has the rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from configs import task
from errors import UserError

# What a claim is about: accuracy at the tested lengths beyond the trained ones, or at trained ones.
BEYOND, IN_RANGE = "beyond", "in range"

# Dotted fields of a config -> values.
Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Arm:
    """One of the settings that are compared."""

    name: str  # also of its folder
    label: str
    changes: Changes
    published: str  # what the source reports for it


@dataclass(frozen=True)
class Claim:
    """That an arm is better than another; both by name."""

    better: str
    worse: str
    margin: float  # the smallest difference in accuracy that counts
    where: str = BEYOND

    @property
    def gated(self) -> tuple[str, ...]:
        """The arms that must know the trained lengths, or the claim can't be judged.

        Where it is about those lengths, the worse arm fails there by the claim itself.
        """
        return (self.better, self.worse) if self.where == BEYOND else (self.better,)


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
        those that are scored included. Both move together: a seed is all that chance decides.
        """
        common = self.changes_at(scale)
        return [
            Cell(arm.name, seed, {**common, **arm.changes, "seed": seed, "data.task.seed": seed})
            for seed in range(seeds)
            for arm in self.arms
        ]

    @property
    def arm_names(self) -> tuple[str, ...]:
        return tuple(arm.name for arm in self.arms)

    def arm(self, name: str) -> Arm:
        """ValueError where there is none, a mistake in a claim."""
        (found,) = (arm for arm in self.arms if arm.name == name)
        return found
