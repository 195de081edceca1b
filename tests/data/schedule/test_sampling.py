"""Weights of domains and lengths, and the shuffle over blocks, against counts of what is drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lengthwise.common.errors import UserError
from lengthwise.data.layouts.row_groups import RowGroups, Stratum
from lengthwise.data.schedule.curriculum import CurriculumConfig
from lengthwise.data.schedule.row_order import RowOrder, interleave
from lengthwise.data.schedule.sampling import DomainWeight, LengthWeight, SamplingConfig
from lengthwise.data.schedule.schedule import Schedule

STRATA = (Stratum("code", 0), Stratum("code", 32), Stratum("prose", 0), Stratum("prose", 32))
NATURAL = SamplingConfig((), (), stratify=False, shuffle_blocks=0)
STRATIFIED = SamplingConfig((), (), stratify=True, shuffle_blocks=0)


def groups_of(counts: np.ndarray) -> RowGroups:
    """From rows [blocks, strata]."""
    block, stratum = np.indices(counts.shape)
    return RowGroups.of(block.ravel(), stratum.ravel(), counts.ravel())


def random_groups(seed: int, blocks: int = 6, most: int = 30) -> RowGroups:
    counts = np.random.default_rng(seed).integers(0, most, (blocks, len(STRATA)))
    counts[0] += 1  # no stratum without rows
    return groups_of(counts)


BUCKETS = {8: random_groups(0, most=60), 16: random_groups(1), 64: random_groups(2, most=9)}


def schedule(
    sampling: SamplingConfig, buckets: dict[int, RowGroups] | None = None, seed: int = 0
) -> Schedule:
    curriculum = CurriculumConfig("uniform", (), 2)
    return Schedule(curriculum, buckets or BUCKETS, STRATA, sampling, 128, 60, seed)


def weighted(
    *domains: float, lengths: dict[int, float] | None = None, shuffle_blocks: int = 0
) -> SamplingConfig:
    return SamplingConfig(
        tuple(map(DomainWeight, ("code", "prose"), domains)),
        tuple(LengthWeight(*each) for each in (lengths or {}).items()),
        stratify=False,
        shuffle_blocks=shuffle_blocks,
    )


def stratum_of(groups: RowGroups, rows: np.ndarray) -> np.ndarray:
    return groups.stratum[np.searchsorted(groups.first, rows, side="right") - 1]


def block_of(groups: RowGroups, rows: np.ndarray) -> np.ndarray:
    return groups.block[np.searchsorted(groups.first, rows, side="right") - 1]


SAMPLINGS = [
    NATURAL,
    STRATIFIED,
    weighted(0.9, 0.1),
    weighted(0.5, 0.5, lengths={32: 5.0}),
    weighted(0.2, 0.8, shuffle_blocks=2),
    SamplingConfig((), (), stratify=False, shuffle_blocks=1),
    SamplingConfig((), (), stratify=False, shuffle_blocks=3),
]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_every_epoch_of_a_stratum_holds_each_of_its_rows_once(sampling: SamplingConfig) -> None:
    plan = schedule(sampling)
    drawn: dict[tuple[int, int], list[int]] = {}
    for step in range(400):
        draw = plan.draw(step)
        np.testing.assert_array_equal(draw.strata, stratum_of(BUCKETS[draw.length], draw.rows))
        for row, stratum in zip(draw.rows.tolist(), draw.strata.tolist(), strict=True):
            key = (draw.length, stratum if sampling.by_strata else -1)
            drawn.setdefault(key, []).append(row)
    epochs = 0
    for (length, stratum), order in drawn.items():
        groups = BUCKETS[length]
        rows = np.arange(groups.rows)
        if stratum >= 0:
            rows = rows[stratum_of(groups, rows) == stratum]
        seen = [order[i : i + rows.size] for i in range(0, len(order), rows.size)]
        for epoch in seen[:-1]:
            assert sorted(epoch) == rows.tolist()
        assert len(set(seen[-1])) == len(seen[-1])
        epochs += len(seen) - 1
        if len(seen) > 2 and rows.size > 8:
            assert seen[0] != seen[1]
    assert epochs > 4


@settings(max_examples=15)
@given(
    share=st.floats(0.05, 0.95),
    long_weight=st.floats(0.1, 10),
    seed=st.integers(0, 50),
    cycles=st.integers(15, 30),
)
def test_trained_tokens_follow_the_weights(
    share: float, long_weight: float, seed: int, cycles: int
) -> None:
    buckets = {length: random_groups(seed + length) for length in BUCKETS}
    plan = schedule(weighted(share, 1 - share, lengths={32: long_weight}), buckets, seed)
    steps = cycles * plan.cycle_steps
    tokens = {length: np.zeros(len(STRATA)) for length in buckets}
    for step in range(steps):
        draw = plan.draw(step)
        tokens[draw.length] += np.bincount(draw.strata, minlength=len(STRATA)) * draw.length
    held = np.array(
        [np.bincount(g.stratum, g.count, len(STRATA)) * length for length, g in buckets.items()]
    )
    rates = np.array([1, long_weight, 1, long_weight])
    wanted = held.sum(axis=0) * rates
    for domain, weight in (([0, 1], share), ([2, 3], 1 - share)):
        wanted[domain] *= weight / wanted[domain].sum()
    # Two steps a bucket of rounding; a row a stratum and bucket.
    error = 3 * (2 * 128 + 64) / (steps * 128) + 1e-3
    found = np.array(list(tokens.values())) / (steps * 128)
    np.testing.assert_allclose(found.sum(axis=0), wanted, atol=error)
    mass = (wanted * held / held.sum(axis=0)).sum(axis=1)
    np.testing.assert_allclose(found.sum(axis=1), mass, atol=2.1 / steps + 1e-3)


def test_every_batch_is_stratified() -> None:
    plan = schedule(STRATIFIED)
    for step in range(200):
        draw = plan.draw(step)
        groups = BUCKETS[draw.length]
        share = np.bincount(groups.stratum, groups.count) / groups.rows
        counts = np.bincount(draw.strata, minlength=len(STRATA))
        assert (abs(counts - share * draw.rows.size) < 2).all()
    spreads = [np.bincount(schedule(NATURAL).draw(step).strata, minlength=4) for step in range(200)]
    assert np.ptp(spreads, axis=0).max() > 6, "not stratified, batches differ much more"


@given(rates=st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any))
def test_a_period_is_spread_evenly(rates: list[int]) -> None:
    pattern, places = interleave(np.array(rates))
    assert np.bincount(pattern, minlength=len(rates)).tolist() == rates
    for stratum, rate in enumerate(rates):
        assert places[stratum].tolist() == np.flatnonzero(pattern == stratum).tolist()
        for end in range(pattern.size + 1):
            exact = rate * end / pattern.size
            assert abs(np.count_nonzero(pattern[:end] == stratum) - exact) < len(rates)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_draw_depends_on_the_step_alone(sampling: SamplingConfig) -> None:
    plan, fresh = schedule(sampling), schedule(sampling)
    steps = np.random.default_rng(0).permutation(2000)[:60].tolist()
    draws = {step: plan.draw(step) for step in steps}
    for step in sorted(steps)[::7]:
        again = fresh.draw(step)
        assert again.length == draws[step].length
        np.testing.assert_array_equal(again.rows, draws[step].rows)
        np.testing.assert_array_equal(again.strata, draws[step].strata)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_rows_come_from_the_blocks_that_are_announced(sampling: SamplingConfig) -> None:
    plan = schedule(sampling)
    for step in range(150):
        draw, blocks = plan.draw(step), plan.blocks(step)
        assert np.unique(blocks).size == blocks.size
        assert set(block_of(BUCKETS[draw.length], draw.rows).tolist()) <= set(blocks.tolist())


@settings(max_examples=40)
@given(
    counts=st.lists(st.integers(0, 12), min_size=1, max_size=12).filter(any),
    window=st.integers(1, 5),
    begin=st.integers(0, 10**9),
)
def test_a_window_of_blocks_is_read_before_the_next(
    counts: list[int], window: int, begin: int
) -> None:
    groups = groups_of(np.array(counts)[:, None])
    order = RowOrder(groups, window, key=5, block_key=6)
    epoch = begin // groups.rows * groups.rows
    rows = order.take(np.arange(epoch, epoch + groups.rows))
    assert sorted(rows.tolist()) == list(range(groups.rows))
    blocks = block_of(groups, rows)
    first_seen = list(dict.fromkeys(blocks.tolist()))
    for place in range(groups.rows):
        open_blocks = order.blocks(epoch + place, epoch + place + 1)
        assert open_blocks.size <= window
        assert blocks[place] in open_blocks
    for block in first_seen:
        places = np.flatnonzero(blocks == block)
        others = {int(b) for b in blocks[places[0] : places[-1] + 1]}
        assert len(others) <= window


@settings(max_examples=60)
@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    window=st.integers(1, 5),
    count=st.integers(1, 60),
)
def test_no_stretch_of_rows_has_more_blocks_than_announced(
    counts: list[int], window: int, count: int
) -> None:
    order = RowOrder(groups_of(np.array(counts)[:, None]), window, key=5, block_key=6)
    sizes = [order.blocks(begin, begin + count).size for begin in range(3 * sum(counts))]
    assert max(sizes) <= order.max_blocks(count) <= len(counts)


@pytest.mark.parametrize(
    "sampling", [SamplingConfig((), (), False, 2), weighted(0.5, 0.5, shuffle_blocks=2)]
)
def test_open_blocks_cover_a_batch_over_several_windows(sampling: SamplingConfig) -> None:
    plan = schedule(sampling, {8: groups_of(np.array([[1, 1, 1, 0]] * 40))})
    most = max(plan.blocks(step).size for step in range(60))
    assert 4 < most <= plan.open_blocks <= 2 * most


def test_open_blocks_are_the_windows_of_all_buckets_where_a_batch_stays_in_two() -> None:
    large = groups_of(np.full((20, 4), 50))
    plan = schedule(SamplingConfig((), (), False, 3), {8: large, 16: large})
    assert plan.open_blocks == 3 + 3 + 3, "one of the two crosses into its next window"


def test_blocks_come_in_another_order_each_epoch_and_alike_in_all_buckets() -> None:
    some = groups_of(np.array([[2]] * 40))
    fewer = groups_of(np.array([[3], [0]] * 20))
    a = RowOrder(some, 1, key=1, block_key=9)
    b = RowOrder(fewer, 1, key=2, block_key=9)
    orders = [a.blocks(epoch * 80, epoch * 80 + 80).tolist() for epoch in range(3)]
    assert orders[0] != orders[1] != orders[2]
    shared = [block for block in orders[0] if block % 2 == 0]
    assert b.blocks(0, 60).tolist() == shared


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: weighted(0.5, 0.4), "add up to 0.9"),
        (lambda: weighted(1.5, -0.5), "weight -0.5 of domain 'prose' must be at least 0"),
        (lambda: weighted(float("nan"), 1.0), "weight nan of domain 'code'"),
        (lambda: weighted(0.5, 0.5, lengths={32: -1.0}), "weight -1.0 of min_tokens 32"),
        (lambda: weighted(0.5, 0.5, lengths={64: 1.0, 32: 1.0}), "positive and ascend"),
        (lambda: SamplingConfig((DomainWeight("a", 0.5),) * 2, (), False, 0), "'a' twice"),
        (lambda: SamplingConfig((), (), False, -1), "shuffle_blocks = -1"),
        (lambda: schedule(weighted(1.0)), "lacks the domain 'prose': give each of code, prose"),
        (
            lambda: schedule(
                SamplingConfig((DomainWeight("code", 0.5), DomainWeight("cod", 0.5)), (), False, 0)
            ),
            "names the domain 'cod', which the training data lacks: its domains are code, prose",
        ),
        (
            lambda: schedule(weighted(0.5, 0.5), {8: groups_of(np.array([[40, 40, 0, 0]]))}),
            "gives 0.5 to the domain 'prose', which has no sequences",
        ),
        (
            lambda: schedule(
                weighted(0.5, 0.5, lengths={32: 0.0}), {8: groups_of(np.array([[40, 40, 0, 9]]))}
            ),
            "'prose', which has no length bin with a weight",
        ),
        (
            lambda: schedule(weighted(lengths={1: 0.0}), {8: groups_of(np.array([[0, 40, 0, 9]]))}),
            "all weights are 0",
        ),
    ],
)
def test_says_what_is_wrong(make, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make()


def test_a_domain_of_weight_0_is_never_drawn() -> None:
    buckets = BUCKETS | {32: groups_of(np.array([[0, 0, 30, 30]]))}
    plan = schedule(weighted(1.0, 0.0), dict(sorted(buckets.items())))
    assert 32 not in plan.lengths
    for step in range(100):
        assert plan.draw(step).strata.max() < 2


def test_says_what_the_weights_make_of_the_domains() -> None:
    few = {8: groups_of(np.array([[10, 10, 40, 20]]))}  # tokens: 160 of code, 480 of prose
    lines = schedule(weighted(0.9, 0.1), few).domain_shares  # 60 steps of 128 tokens
    assert lines == (
        "domain code: 90.00% of the trained tokens asked for, 25.00% of those there are, "
        "43.20 epochs in the budget",
        "domain prose: 10.00% of the trained tokens asked for, 75.00% of those there are, "
        "1.60 epochs in the budget",
    )
    assert schedule(STRATIFIED).domain_shares == ()


def test_says_which_strata_are_repeated_often() -> None:
    code = sum(int(g.count[g.stratum < 2].sum()) * length for length, g in BUCKETS.items())
    plan = schedule(weighted(1.0, 0.0))  # 60 steps of 128 tokens
    assert not any("times through" in note for note in schedule(STRATIFIED).notes)
    few = {8: groups_of(np.array([[8, 8, 40, 40]]))}
    (note, _) = (n for n in schedule(weighted(0.9, 0.1), few).notes if "times through" in n)
    assert note == "code, documents of 0 tokens and more: the budget goes 54.0 times through them"
    assert code * 4 > 60 * 128
    assert not any("times through" in note for note in plan.notes)


def test_the_fingerprint_follows_weights_and_groups() -> None:
    plans = [schedule(sampling) for sampling in SAMPLINGS]
    regrouped = BUCKETS | {64: groups_of(np.array([[BUCKETS[64].rows, 0, 0, 0]]))}
    plans.append(schedule(STRATIFIED, regrouped))
    assert len({plan.fingerprint for plan in plans}) == len(plans)
