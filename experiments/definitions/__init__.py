"""The experiments, a small module each, in the order of docs/reproductions.md."""

from experiments.definition import Experiment
from experiments.definitions import (
    addition_formats,
    copy_positions,
    majority_parity,
    unique_repeat,
)

EXPERIMENTS: dict[str, Experiment] = {
    each.name: each
    for each in (
        copy_positions.EXPERIMENT,
        majority_parity.EXPERIMENT,
        unique_repeat.EXPERIMENT,
        addition_formats.EXPERIMENT,
    )
}
