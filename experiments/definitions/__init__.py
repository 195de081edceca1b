"""The experiments, a small module each, in the order of docs/reproductions.md."""

from lengthwise.experiments.definition import Experiment
from lengthwise.experiments.definitions import (
    addition as addition_formats,
)
from lengthwise.experiments.definitions import (
    addition_hints,
    early_stopping,
    half_longer,
    majority_parity,
    model_size,
    position_schemes,
    randomized_positions,
    regularization,
    scratchpads,
    seed_variance,
    sort_hints,
    tail_parts,
    unique_repeat,
)

EXPERIMENTS: dict[str, Experiment] = {
    each.name: each
    for each in (
        *position_schemes.EXPERIMENTS,
        majority_parity.EXPERIMENT,
        *unique_repeat.EXPERIMENTS,
        addition_formats.EXPERIMENT,
        sort_hints.EXPERIMENT,
        addition_hints.EXPERIMENT,
        randomized_positions.EXPERIMENT,
        tail_parts.EXPERIMENT,
        scratchpads.EXPERIMENT,
        *regularization.EXPERIMENTS,
        early_stopping.EXPERIMENT,
        half_longer.EXPERIMENT,
        model_size.EXPERIMENT,
        seed_variance.EXPERIMENT,
    )
}
