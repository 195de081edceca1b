"""The experiments, a small module each, in the order of docs/reproductions.md."""

from lengthwise.experiments.definition import ExperimentDefinition
from lengthwise.experiments.definitions import (
    addition,
    early_stopping,
    half_longer,
    majority_parity,
    model_size,
    position_schemes,
    randomized_positions,
    regularization,
    seed_variance,
    sort_hints,
    unique_repeat,
)

EXPERIMENTS: dict[str, ExperimentDefinition] = {
    each.name: each
    for each in (
        *position_schemes.EXPERIMENTS,
        majority_parity.EXPERIMENT,
        *unique_repeat.EXPERIMENTS,
        addition.FORMATS,
        sort_hints.EXPERIMENT,
        addition.HINTS,
        randomized_positions.EXPERIMENT,
        addition.TAIL_PARTS,
        addition.SCRATCHPADS,
        *regularization.EXPERIMENTS,
        early_stopping.EXPERIMENT,
        half_longer.EXPERIMENT,
        model_size.EXPERIMENT,
        seed_variance.EXPERIMENT,
    )
}
