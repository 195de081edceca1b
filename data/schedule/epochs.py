"""Epochs: how often the tokens of each domain were trained on."""

from collections.abc import Mapping, Sequence

import numpy as np

from lengthwise.data.layouts import LayoutIndex
from lengthwise.data.schedule.schedule import MANY_EPOCHS, Schedule


def domain_epochs(
    layout: LayoutIndex, schedule: Schedule, trained: Sequence[range]
) -> dict[str, float]:
    """Epochs of each domain of the layout over the data steps of `trained`, disjoint ranges.

    Tokens drawn over tokens that there are, padding included, in all buckets together; 0 for a
    domain without sequences. Closed forms, as `Schedule.rows_drawn`.
    """
    there = np.zeros(len(layout.strata))
    drawn = np.zeros(len(layout.strata))
    for length, bucket in layout.buckets.items():
        there += length * np.bincount(
            bucket.groups.stratum, bucket.groups.count, minlength=there.size
        )
    for steps in trained:
        before, after = schedule.rows_drawn(steps.start), schedule.rows_drawn(steps.stop)
        for length in schedule.lengths:
            drawn += length * (after[length] - before[length])
    epochs = {}
    for domain in dict.fromkeys(stratum.domain for stratum in layout.strata):
        inside = np.array([stratum.domain == domain for stratum in layout.strata])
        epochs[domain] = float(drawn[inside].sum() / max(there[inside].sum(), 1))
    return epochs


def epochs_text(epochs: Mapping[str, float]) -> str:
    """ "0.31", or by domain "code 43.20, prose 1.60"."""
    if len(epochs) == 1:
        return f"{next(iter(epochs.values())):.2f}"
    return ", ".join(f"{domain} {count:.2f}" for domain, count in epochs.items())


def repetition_notes(epochs: Mapping[str, float]) -> list[str]:
    """A sentence for each domain that is repeated so often that it is worth less than new text."""
    return [
        (f"domain {domain}" if len(epochs) > 1 else "the corpus")
        + f" is trained on for {count:.1f} epochs: beyond about {MANY_EPOCHS}, repeated text is "
        "worth ever less than new text (arXiv 2305.16264)"
        for domain, count in epochs.items()
        if count > MANY_EPOCHS
    ]
