"""Targets of answers alone: against a walk over each row, and however the columns are split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lengthwise.data.batches.answers import NO_TARGET, answers_only
from lengthwise.data.batches.pipeline import batches
from lengthwise.data.config import ReadingConfig
from lengthwise.data.layouts import build_layout
from lengthwise.data.schedule.curriculum import CurriculumConfig
from lengthwise.data.schedule.sampling import SamplingConfig
from lengthwise.data.schedule.schedule import Schedule
from lengthwise.data.store.memory_reader import MemoryReader
from lengthwise.data.tasks.symbols import ANSWER, END, SEPARATOR
from tests.data.layouts.layout_cases import MemoryDocuments, changed

READING = ReadingConfig(
    reader_threads=0, prefetch=2, memory_bytes=1 << 20, stage_directory="", stage_blocks=0
)


def walked(inputs: list[int], targets: list[int], positions: list[int]) -> list[int]:
    found, answering = [], False
    for token, target, position in zip(inputs, targets, positions, strict=True):
        if position == 0 or token in (END, SEPARATOR):
            answering = False
        if token == ANSWER:
            answering = True
        found.append(target if answering else NO_TARGET)
    return found


@given(st.data())
def test_targets_are_those_of_a_walk_over_the_row(data):
    shape = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 12)))
    draw = lambda low, high: np.array(
        data.draw(
            st.lists(
                st.integers(low, high), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]
            )
        )
    ).reshape(shape)
    inputs, targets, positions = draw(0, 5), draw(0, 9), draw(0, 2)
    wanted = [
        walked(*row)
        for row in zip(inputs.tolist(), targets.tolist(), positions.tolist(), strict=True)
    ]
    np.testing.assert_array_equal(answers_only(inputs, targets, positions), wanted)


def samples(count: int) -> list[list[int]]:
    """Prompts of 1 to 9 tokens, answers of 1 to 9; every third has an example before it."""
    rng, found = np.random.default_rng(0), []
    for number in range(count):
        pairs = [rng.integers(3, 20, rng.integers(1, 10)).tolist() for _ in range(4)]
        shot = [*pairs[2], ANSWER, *pairs[3], SEPARATOR] if number % 3 == 0 else []
        found.append([*shot, *pairs[0], ANSWER, *pairs[1], END])
    return found


def trained_targets(config, documents: list[list[int]], columns: int, steps: int) -> np.ndarray:
    """Targets of each step, [steps, tokens], put together of `columns` column ranges of a row."""
    tokens = np.concatenate([np.array(d, np.uint16) for d in documents])
    layout = build_layout(config, MemoryDocuments([len(d) for d in documents]), seed=0)
    curriculum = CurriculumConfig("natural", (), 1)
    schedule = Schedule(
        curriculum,
        layout.bucket_groups,
        layout.strata,
        SamplingConfig((), (), False, 0),
        128,
        steps,
        0,
    )
    parts = []
    for part in range(columns):

        def held(length: int, part: int = part) -> tuple[np.ndarray, list[slice]]:
            size = length // columns // 2
            starts = (part, 2 * columns - 1 - part)  # the zig-zag order of devices
            return np.arange(128 // length), [slice(n * size, (n + 1) * size) for n in starts]

        reader = MemoryReader(tokens)
        parts.append(list(batches(reader, layout, schedule, READING, range(steps), held)))
    return np.stack(
        [
            _in_row_order([b.arrays["targets"] for b in step]).ravel()
            for step in zip(*parts, strict=True)
        ]
    )


def _in_row_order(parts: list[np.ndarray]) -> np.ndarray:
    first, second = zip(*(np.split(part, 2, axis=1) for part in parts), strict=True)
    return np.concatenate([*first, *second[::-1]], axis=1)


@pytest.mark.parametrize("name", ["whole", "pack", "pad", "decompose"])
def test_batches_train_the_answers_and_nothing_else(name: str):
    documents = samples(120)
    bounds = {"largest_bucket": 64} if name != "decompose" else {}
    config = changed(name=name, targets="answers", smallest_bucket=8, **bounds)
    whole = trained_targets(config, documents, 1, 12)
    np.testing.assert_array_equal(trained_targets(config, documents, 2, 12), whole)
    every = trained_targets(changed(name=name, smallest_bucket=8, **bounds), documents, 1, 12)
    np.testing.assert_array_equal(np.where(whole == NO_TARGET, every, whole), every)
    assert 0.1 < (whole != NO_TARGET).mean() < 0.6


def test_an_epoch_of_whole_samples_trains_each_answer_once():
    documents = samples(96)
    config = changed(name="whole", targets="answers", smallest_bucket=64)
    found = trained_targets(config, documents, 1, 48)  # two samples a step
    wanted = []
    for document in documents:
        inputs, targets = document[:-1], document[1:]
        wanted += [t for t in walked(inputs, targets, list(range(len(inputs)))) if t >= 0]
    assert sorted(found[found >= 0].tolist()) == sorted(wanted)
