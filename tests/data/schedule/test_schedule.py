import dataclasses
import functools
import hashlib
import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from lengthwise.common.errors import UserError
from lengthwise.common.settings import setting
from lengthwise.data.schedule.curriculum import CURRICULA, Curriculum, CurriculumConfig
from lengthwise.data.schedule.quotas import Quotas
from lengthwise.data.schedule.schedule import Schedule
from tests.data.rows import AS_THEY_COME, ONE_STRATUM, one_group

ROWS = {4: 130, 8: 61, 16: 35, 32: 9}
named = st.sampled_from([name for name in CURRICULA.names() if name != "explicit"])
row_counts = st.lists(st.integers(0, 60), min_size=4, max_size=4).filter(lambda rows: max(rows) > 8)


def schedule(
    name: str = "grow_p2",
    *,
    cycles: int = 3,
    odds: tuple[float, ...] = (),
    rows: dict[int, int] | None = None,
    tokens_per_step: int = 32,
    budget_steps: int = 60,
    seed: int = 5,
) -> Schedule:
    config = CurriculumConfig(name, odds, cycles)
    groups = {length: one_group(count) for length, count in (rows or ROWS).items()}
    return Schedule(config, groups, ONE_STRATUM, AS_THEY_COME, tokens_per_step, budget_steps, seed)


def lengths_of(plan: Schedule, steps: range) -> list[int]:
    return [plan.bucket(step) for step in steps]


@given(counts=row_counts, name=named, cycles=st.integers(1, 4), seed=st.integers(0, 2**64 - 1))
def test_an_epoch_draws_each_row_once_also_across_batches(
    counts: list[int], name: str, cycles: int, seed: int
) -> None:
    rows = dict(zip(ROWS, counts, strict=True))
    plan = schedule(name, rows=rows, cycles=cycles, seed=seed, budget_steps=40)
    drawn: dict[int, list[int]] = {length: [] for length in plan.lengths}
    for step in range(60):
        draw = plan.draw(step)
        assert draw.length == plan.bucket(step)
        assert draw.rows.shape == (32 // draw.length,)
        drawn[draw.length] += draw.rows.tolist()
    for length, order in drawn.items():
        for begin in range(0, len(order), rows[length]):
            epoch = order[begin : begin + rows[length]]
            assert len(set(epoch)) == len(epoch)
            assert set(epoch) <= set(range(rows[length]))


def test_each_epoch_bucket_and_seed_has_an_order_of_its_own() -> None:
    def orders(seed: int) -> list[list[int]]:
        plan = schedule("uniform", rows={4: 64, 8: 64}, budget_steps=24, cycles=1, seed=seed)
        drawn: dict[int, list[int]] = {4: [], 8: []}
        for step in range(96):
            draw = plan.draw(step)
            drawn[draw.length] += draw.rows.tolist()
        return [drawn[length][e * 64 : (e + 1) * 64] for length in drawn for e in range(3)]

    different = [*orders(0), *orders(1)]
    assert all(sorted(order) == list(range(64)) for order in different)
    assert all(a != b for a, b in itertools.combinations(different, 2))


@given(counts=row_counts, name=named, cycles=st.integers(1, 7), budget=st.integers(1, 90))
def test_quotas_fill_every_cycle_and_follow_the_token_shares(
    counts: list[int], name: str, cycles: int, budget: int
) -> None:
    rows = dict(zip(ROWS, counts, strict=True))
    plan = schedule(name, rows=rows, cycles=cycles, budget_steps=budget)
    assert abs(plan.cycle_steps * cycles - budget) <= cycles
    share = {length: length * rows[length] / sum(n * c for n, c in rows.items()) for length in rows}
    for cycle in range(1, 12):
        steps = cycle * plan.cycle_steps
        so_far = lengths_of(plan, range(steps))
        for length in rows:
            assert abs(so_far.count(length) - share[length] * steps) < 1.5
        assert plan.visits(steps) == {n: so_far.count(n) for n in plan.lengths}


WEIGHTS = st.lists(st.integers(1, 10**6) | st.integers(1, 20), min_size=1, max_size=12)


@given(weights=WEIGHTS, cycle_steps=st.integers(1, 40), begin=st.integers(0, 10**7))
def test_counts_only_grow_and_stay_near_their_shares(
    weights: list[int], cycle_steps: int, begin: int
) -> None:
    quotas = Quotas(tuple(weights), cycle_steps)
    before = quotas.before(begin)
    for cycle in range(begin, begin + 30):
        after = quotas.before(cycle)
        total = cycle * cycle_steps
        assert sum(after) == total
        for had, has, weight in zip(before, after, weights, strict=True):
            assert has >= had
            assert abs(has - total * weight / sum(weights)) < 2
        before = after


def test_shares_of_equal_large_buckets_beside_small_ones_never_fall() -> None:
    # Largest remainders alone take steps back here (the Alabama paradox).
    quotas = Quotas((1000, 98, 3, 1000, 1000, 1000, 2, 3, 3, 1, 1000, 2), 1)
    counts = np.array([quotas.before(cycle) for cycle in range(3000)])
    assert (np.diff(counts, axis=0) >= 0).all()
    assert (counts[-1] > 0).all()


def test_draws_are_those_of_the_first_version() -> None:
    """Digests from the version before sampling weights and closed-form quotas."""
    many = {64: 100_000, 128: 0, 256: 9_999, 4096: 1234}
    frozen = {
        ("natural", 32): "dbdbde65c3438695",
        ("natural", 32768): "2252e3b66b5991ef",
        ("uniform", 32): "ed1b90c10937f663",
        ("uniform", 32768): "689188e07bfb2745",
        ("grow_p2", 32): "8b499c68e78e251b",
        ("grow_p2", 32768): "4c66226c7ee044a7",
        ("shrink_p100", 32): "516b9e65f6e84a99",
        ("shrink_p100", 32768): "b79e9340c1f10625",
    }
    found = {}
    for name, tokens_per_step in frozen:
        if tokens_per_step == 32:
            plan = schedule(name)
        else:
            plan = schedule(
                name, rows=many, cycles=8, tokens_per_step=tokens_per_step, budget_steps=9000,
                seed=2**63 + 1,
            )  # fmt: skip
        digest = hashlib.blake2b(digest_size=8)
        for step in (*range(130), 1000, 5000, 20_001):
            draw = plan.draw(step)
            numbers = np.concatenate([[step, draw.length], draw.rows])
            digest.update(numbers.astype("<i8").tobytes())
        found[name, tokens_per_step] = digest.hexdigest()
    assert found == frozen


def test_a_late_step_computes_no_earlier_cycle(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    before = Quotas.before

    def counted(quotas: Quotas, cycle: int) -> tuple[int, ...]:
        asked.append(cycle)
        return before(quotas, cycle)

    monkeypatch.setattr(Quotas, "before", counted)
    for cycles in (3, 60):  # 20 steps a cycle; one step a cycle, which gives most buckets nothing
        plan = schedule(cycles=cycles)
        plan.draw(1_000_000)
        assert set(asked) <= {c + n for n in (0, 1) for c in [1_000_000 // plan.cycle_steps]}
        asked.clear()


def test_a_budget_of_one_epoch_visits_every_bucket_in_proportion_in_every_cycle() -> None:
    rows = {4: 160, 8: 80, 16: 40, 32: 20}
    plan = schedule("grow_p100", rows=rows, budget_steps=80, cycles=4)
    seen: dict[int, list[set[int]]] = {length: [] for length in rows}
    for cycle in range(4):
        draws = [plan.draw(step) for step in range(cycle * 20, (cycle + 1) * 20)]
        for length in rows:
            of_bucket = [row for draw in draws if draw.length == length for row in draw.rows]
            assert len(of_bucket) == rows[length] // 4
            seen[length].append(set(of_bucket))
    for length, parts in seen.items():  # disjoint shares that add up to the bucket
        assert set().union(*parts) == set(range(rows[length]))
        assert sum(len(part) for part in parts) == rows[length]


@given(name=named, far=st.integers(0, 5000), seed=st.integers(0, 100))
def test_a_draw_depends_on_the_step_alone(name: str, far: int, seed: int) -> None:
    plan, fresh = schedule(name, seed=seed), schedule(name, seed=seed)
    for step in (3, 61, 2):  # another history than fresh has
        plan.draw(step)
    np.testing.assert_array_equal(plan.draw(far).rows, fresh.draw(far).rows)
    assert plan.bucket(far) == fresh.bucket(far)


def test_neighbouring_large_seeds_differ() -> None:
    orders = [lengths_of(schedule(seed=2**64 - n), range(60)) for n in (1, 2, 3)]
    assert all(a != b for a, b in itertools.combinations(orders, 2))


def test_lengthening_goes_on_with_cycles_of_the_same_length() -> None:
    plan = schedule("grow_p100", budget_steps=60, cycles=3)
    first_cycles = [lengths_of(plan, range(c * 20, c * 20 + 20)) for c in range(6)]
    for cycle in first_cycles:
        assert cycle[0] == 4
        assert np.mean(cycle[:10]) < np.mean(cycle[10:])
    assert len({tuple(cycle) for cycle in first_cycles}) > 1


def test_threads_get_what_one_thread_gets() -> None:
    steps = np.random.default_rng(0).permutation(1000).tolist()
    serial, shared = schedule(), schedule()
    expected = [serial.draw(step) for step in steps]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(shared.draw, steps))
    for a, b in zip(expected, found, strict=True):
        assert a.length == b.length
        np.testing.assert_array_equal(a.rows, b.rows)


def order_probabilities(quotas: tuple[int, ...], weights: str | tuple[float, ...]) -> dict:
    """Exact probability of each order of buckets, one draw after the other."""

    @functools.cache
    def follow(left: tuple[int, ...]) -> dict[tuple[int, ...], float]:
        if not any(left):
            return {(): 1.0}
        odds = (
            left
            if weights == "remaining"
            else [w * (n > 0) for w, n in zip(weights, left, strict=True)]
        )
        orders = {}
        for place in range(len(left)):
            if left[place]:
                rest = tuple(n - (p == place) for p, n in enumerate(left))
                for order, chance in follow(rest).items():
                    orders[(place, *order)] = chance * odds[place] / sum(odds)
        return orders

    return follow(quotas)


@pytest.mark.parametrize(
    ("name", "odds", "weights"),
    [
        ("natural", (), "remaining"),
        ("uniform", (), (1, 1, 1)),
        ("grow_linear", (), (3, 2, 1)),
        ("grow_p2", (), (4, 2, 1)),
        ("explicit", (1.0, 5.0, 2.0), (1, 5, 2)),
    ],
)
def test_orders_have_the_probabilities_of_drawing_by_odds_without_replacement(
    name: str, odds: tuple[float, ...], weights: str | tuple[float, ...]
) -> None:
    exact = order_probabilities((2, 1, 2), weights)
    counts = dict.fromkeys(exact, 0)
    # Half of the trials are other cycles of the same run.
    for seed in range(1500):
        plan = schedule(
            name, odds=odds, rows={1: 8, 2: 2, 4: 2}, tokens_per_step=4, cycles=2, budget_steps=10,
            seed=seed,
        )  # fmt: skip
        places = [(1, 2, 4).index(length) for length in lengths_of(plan, range(10))]
        counts[tuple(places[:5])] += 1
        counts[tuple(places[5:])] += 1
    expected = np.array(list(exact.values())) * 3000
    assert chisquare(list(counts.values()), expected).pvalue > 1e-4


def test_grow_is_ordered_short_to_long_and_shrink_the_other_way() -> None:
    def mean_length_of_the_first_half(name: str) -> float:
        rows = {4: 800, 8: 400, 16: 200, 32: 100}
        plans = [schedule(name, rows=rows, cycles=1, seed=seed) for seed in range(20)]
        return float(np.mean([lengths_of(plan, range(30)) for plan in plans]))

    names = ["grow_p100", "grow_p2", "grow_linear", "uniform", "shrink_p100"]
    means = [mean_length_of_the_first_half(name) for name in names]
    assert means == sorted(means)
    assert means[0] < 0.5 * means[-1]


def test_odds_belong_to_their_bucket_when_another_is_empty() -> None:
    rows = {4: 80, 8: 0, 16: 20, 32: 10}
    plan = schedule("explicit", odds=(1e-9, 1e9, 1.0, 1e9), rows=rows, cycles=1)
    assert plan.lengths == (4, 16, 32)
    order = lengths_of(plan, range(60))
    assert order == sorted(order, key=[32, 16, 4].index)


def test_fingerprint_follows_what_decides_the_draws() -> None:
    plan = schedule()
    same = [schedule(), schedule(budget_steps=61)]  # cycles of the same 20 steps
    assert {other.fingerprint for other in same} == {plan.fingerprint}
    others = [
        schedule("uniform"),
        schedule(cycles=4),
        schedule(seed=6),
        schedule(budget_steps=66),
        schedule(tokens_per_step=64),
        schedule(rows=ROWS | {8: 62}),
    ]
    assert len({other.fingerprint for other in [plan, *others]}) == len(others) + 1


def test_notes_say_what_is_scarce() -> None:
    assert schedule().notes == ()
    few = schedule(rows={4: 3, 32: 30}, cycles=30).notes
    assert any("bucket 4 has 3 sequences for batches of 8" in note for note in few)
    assert any("bucket 4 holds too few tokens" in note for note in few)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tokens_per_step": 48}, "tokens_per_step = 48 is not divisible by bucket 32"),
        ({"tokens_per_step": 16}, "tokens_per_step = 16 is not divisible by bucket 32"),
        ({"cycles": 0}, "curriculum.cycles = 0"),
        ({"seed": -1}, "seed = -1 must be between"),
        ({"budget_steps": 0}, "budget_steps = 0"),
        (
            {"tokens_per_step": 1024},
            "no bucket holds the 1024 tokens.*--config.phase.tokens_per_step=",
        ),
        ({"rows": dict.fromkeys(ROWS, 0)}, "no bucket holds the 32 tokens"),
    ],
)
def test_says_what_is_wrong(change: dict, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        schedule(**change)
    for field, value in error.value.advice.items():
        schedule(**change | {field.removeprefix("phase."): value})


def test_rejects_negative_steps() -> None:
    with pytest.raises(ValueError, match="negative"):
        schedule().draw(-1)


def test_what_a_user_sets_decides_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CURRICULA, "_registered", CURRICULA.import_all())

    @CURRICULA.register("ends")
    @dataclasses.dataclass(frozen=True)
    class Ends(Curriculum):
        base: float = setting(2.0, "[1, inf)")

        def odds(self, num_buckets: int) -> np.ndarray:
            return np.array([self.base, *[1.0] * (num_buckets - 2), self.base])

    def plan(name: str, base: float) -> Schedule:
        sections = CURRICULA.settings({"ends": {"base": base}}, "phase.curriculum")
        config = CurriculumConfig(name, (), 3, sections)
        groups = {length: one_group(count) for length, count in ROWS.items()}
        return Schedule(config, groups, ONE_STRATUM, AS_THEY_COME, 32, 60, 5)

    assert plan("ends", 2.0).fingerprint != plan("ends", 1e9).fingerprint
    assert plan("natural", 2.0).fingerprint == schedule("natural").fingerprint
    assert set(lengths_of(plan("ends", 1e9), range(8))) == {4, 32}
    with pytest.raises(UserError, match=r"phase.curriculum.ends.base is 0.5, but must lie in"):
        plan("ends", 0.5)
