"""The exposure ledger against a walk over every draw, row and target."""

import dataclasses
import json

import numpy as np
import pytest

from lengthwise.data.layouts import LayoutConfig, LayoutIndex, build_layout
from lengthwise.data.schedule.curriculum import CurriculumConfig
from lengthwise.data.schedule.exposure import Exposure, exposure, total_exposure
from lengthwise.data.schedule.sampling import DomainWeight, SamplingConfig
from lengthwise.data.schedule.schedule import Schedule
from tests.data.layouts.layout_cases import (
    CONCAT,
    DECOMPOSE,
    PACK,
    PAD,
    WINDOW,
    MemoryDocuments,
    pieces_of,
    segments_of,
)
from tests.data.rows import AS_THEY_COME

LENGTHS = np.random.default_rng(0).lognormal(3.5, 1.2, 300).astype(int) + 1
DOMAINS = (np.arange(300) % 2).tolist()
TOKENS_PER_STEP = 128
WEIGHTED = SamplingConfig((DomainWeight("a", 0.8), DomainWeight("b", 0.2)), (), False, 0)


def planned(config: LayoutConfig, sampling: SamplingConfig = AS_THEY_COME) -> tuple:
    layout = build_layout(config, MemoryDocuments(LENGTHS.tolist(), domains=DOMAINS), seed=0)
    schedule = Schedule(
        CurriculumConfig("uniform", (), 2),
        layout.bucket_groups,
        layout.strata,
        sampling,
        TOKENS_PER_STEP,
        60,
        seed=1,
    )
    return layout, schedule


def walked(layout: LayoutIndex, schedule: Schedule, steps: int) -> dict[int, np.ndarray]:
    """Bins by bucket, counted target by target."""
    counts = {length: np.zeros(max(layout.buckets).bit_length()) for length in schedule.lengths}
    for step in range(steps):
        draw = schedule.draw(step)
        window = layout.config.kind.window_at(step) or draw.length
        for row in draw.rows.tolist():
            for segment in segments_of(layout, pieces_of(layout.buckets[draw.length], row)):
                for index in range(len(segment) - 1):
                    counts[draw.length][int(index % window).bit_length()] += 1
    return counts


def walked_lengths(layout: LayoutIndex, schedule: Schedule, steps: int) -> list[int]:
    """Of every target, how many targets its block of its segment has."""
    lengths: list[int] = []
    for step in range(steps):
        draw = schedule.draw(step)
        window = layout.config.kind.window_at(step) or draw.length
        for row in draw.rows.tolist():
            for segment in segments_of(layout, pieces_of(layout.buckets[draw.length], row)):
                targets = len(segment) - 1
                for first in range(0, targets, window):
                    size = min(window, targets - first)
                    lengths += [size] * size
    return lengths


def assert_equal(found: Exposure, expected: dict[int, np.ndarray]) -> None:
    assert found.targets.keys() == expected.keys()
    for length, counts in expected.items():
        np.testing.assert_allclose(found.targets[length], counts, rtol=1e-9)
    np.testing.assert_allclose(found.total, sum(expected.values()), rtol=1e-9)


@pytest.mark.parametrize("config", [PACK, PAD, dataclasses.replace(PACK, document_mask=False)])
def test_whole_epochs_are_exact(config: LayoutConfig) -> None:
    layout, schedule = planned(config)
    steps = layout.buckets[32].rows  # four epochs of four rows a step
    assert_equal(exposure(layout, schedule, [range(steps)]), walked(layout, schedule, steps))


@pytest.mark.parametrize("steps", [1, 37, 200])
@pytest.mark.parametrize(
    "config",
    [
        CONCAT,
        dataclasses.replace(WINDOW, document_mask=False, window_rate=0.31),
        dataclasses.replace(WINDOW, document_mask=False, window_start=36, window_rate=-0.7),
    ],
)
def test_rows_that_are_alike_are_exact_at_any_step(config: LayoutConfig, steps: int) -> None:
    layout, schedule = planned(config)
    assert_equal(exposure(layout, schedule, [range(steps)]), walked(layout, schedule, steps))


@pytest.mark.parametrize("config", [DECOMPOSE, WINDOW])
@pytest.mark.parametrize("sampling", [AS_THEY_COME, WEIGHTED])
def test_unfinished_epochs_are_close(config: LayoutConfig, sampling: SamplingConfig) -> None:
    layout, schedule = planned(config, sampling)
    found, expected = exposure(layout, schedule, [range(301)]), walked(layout, schedule, 301)
    whole = [length for length in expected if not layout.buckets[length].segmented]
    for length in whole:
        np.testing.assert_allclose(found.targets[length], expected[length], rtol=1e-9)
    total = sum(expected.values())
    np.testing.assert_allclose(found.total, total, rtol=0.05, atol=0.002 * total.sum())


def test_weights_of_domains_decide_what_is_counted() -> None:
    layout, schedule = planned(PACK, WEIGHTED)
    epochs = 12
    found = exposure(layout, schedule, [range(epochs * layout.buckets[32].rows)])
    expected = walked(layout, schedule, epochs * layout.buckets[32].rows // 6)
    np.testing.assert_allclose(
        found.total / found.total.sum(), expected[32] / expected[32].sum(), atol=0.01
    )
    unweighted = exposure(*planned(PACK), [range(epochs * layout.buckets[32].rows)])
    assert np.abs(found.total / unweighted.total - 1).max() > 0.005


@pytest.mark.parametrize(
    ("config", "steps"),
    [(PACK, 0), (CONCAT, 37), (dataclasses.replace(WINDOW, document_mask=False), 37)],
)
def test_lengths_are_counted_by_their_tokens(config: LayoutConfig, steps: int) -> None:
    layout, schedule = planned(config)
    steps = steps or layout.buckets[32].rows  # whole epochs, where rows differ
    found, lengths = (
        exposure(layout, schedule, [range(steps)]),
        walked_lengths(layout, schedule, steps),
    )
    counts = np.bincount(lengths, minlength=found.by_length.size)
    np.testing.assert_allclose(found.by_length, counts, rtol=1e-9)
    for share in (0.05, 0.5, 0.95, 1.0):
        expected = np.quantile(lengths, share, method="inverted_cdf")
        assert found.length_quantile(share) == expected
    both = total_exposure([found, found])
    assert both.length_quantile(0.95) == found.length_quantile(0.95)
    np.testing.assert_allclose(both.targets_by_length, 2 * found.targets_by_length)
    bins = np.histogram(lengths, [0, *(found.context + 0.5)])[0]
    np.testing.assert_allclose(found.targets_by_length, bins)


def test_is_kept_as_json() -> None:
    found = exposure(*planned(DECOMPOSE), [range(50)])
    stored = json.loads(json.dumps(found.as_dict()))
    assert stored["length_p95"] == found.length_quantile(0.95) == 64
    assert sum(stored["targets_by_length"]) == pytest.approx(found.total.sum(), abs=8)
    assert stored["context"] == [1, 2, 4, 8, 16, 32, 64]
    assert sum(stored["targets"]) == pytest.approx(found.total.sum(), abs=4)
    assert list(stored["targets_by_bucket"]) == ["8", "16", "32", "64"]
