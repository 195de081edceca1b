"""The update against AdamW's formula in float64, and the schedules at their corners."""

import jax
import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.common.trees import build
from lengthwise.train.step.optimizer import (
    check_no_decay,
    decay_mask,
    learning_rate_schedule,
    make_optimizer,
)
from lengthwise.train.step.settings import OptimizerConfig


def config(**changes):
    settings = {
        "learning_rate": 0.01,
        "warmup_steps": 4,
        "schedule": "cosine",
        "decay_share": 0.25,
        "final_share": 0.1,
        "l2": 0.1,
        "l1": 0.02,
        "clip_norm": 1.0,
        "z_loss": 0.0,
        "adamw": {"beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8},
    }
    return build(OptimizerConfig, {**settings, **changes}, "optimizer")


def params():
    rng = np.random.default_rng(0)
    return {
        "embedding": rng.normal(size=(5, 3)).astype(np.float32),
        "blocks": {
            "w": rng.normal(size=(2, 3, 4)).astype(np.float32),
            "scale": rng.normal(size=(2, 3)).astype(np.float32),
        },
        "final": {"scale": rng.normal(size=(3,)).astype(np.float32)},
    }


def test_decay_acts_on_matrices_alone_stacked_or_not():
    assert decay_mask(params()) == {
        "embedding": True,
        "blocks": {"w": True, "scale": False},
        "final": {"scale": False},
    }


def test_parameters_are_left_out_of_the_decay_by_name():
    none = {"embedding": False, "blocks": {"w": False, "scale": False}, "final": {"scale": False}}
    assert decay_mask(params(), ["*"]) == none
    assert decay_mask(params(), ["embedding"]) == {**none, "blocks": {"w": True, "scale": False}}
    assert decay_mask(params(), ["embed", "blocks.*"]) == {**none, "embedding": True}


def test_a_pattern_that_matches_no_parameter_is_named_with_the_nearest():
    check_no_decay(params(), ["embedding", "blocks.*", "*scale"])
    with pytest.raises(UserError, match=r"'embeddings' matches no parameter; nearest: embedding,"):
        check_no_decay(params(), ["blocks.*", "embeddings"])


@pytest.mark.parametrize("no_decay", [(), ("embed*",)])
def test_three_updates_follow_the_formula(no_decay):
    settings, steps = config(no_decay=no_decay), 20
    optimizer = make_optimizer(settings, steps)
    schedule = learning_rate_schedule(settings, steps)
    now = params()
    state = optimizer.init(now)
    flat, structure = jax.tree.flatten(now)
    mask = [name == "w" or (name == "embedding" and not no_decay)
            for name in ("scale", "w", "embedding", "scale")]  # fmt: skip
    want = [leaf.astype(np.float64) for leaf in flat]
    first, second = [np.zeros_like(w) for w in want], [np.zeros_like(w) for w in want]
    rng = np.random.default_rng(1)
    for step in range(3):
        grads = [rng.normal(size=w.shape) for w in want]
        updates, state = optimizer.update(
            structure.unflatten([g.astype(np.float32) for g in grads]), state, now
        )
        now = jax.tree.map(lambda p, u: p + u, now, updates)
        norm = np.sqrt(sum((g**2).sum() for g in grads))
        grads = [g / max(norm, 1.0) for g in grads]
        rate = float(schedule(step))
        for i, g in enumerate(grads):
            first[i] = 0.9 * first[i] + 0.1 * g
            second[i] = 0.95 * second[i] + 0.05 * g**2
            direction = first[i] / (1 - 0.9 ** (step + 1))
            direction = direction / (np.sqrt(second[i] / (1 - 0.95 ** (step + 1))) + 1e-8)
            if mask[i]:
                direction = direction + 0.1 * want[i] + 0.02 * np.sign(want[i])
            want[i] = want[i] - rate * direction
    for got, expected in zip(jax.tree.leaves(now), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "corners"),
    [
        ("cosine", {0: 0.0025, 2: 0.0075, 3: 0.01, 4: 0.01, 12: 0.0055, 20: 0.001, 40: 0.001}),
        ("wsd", {0: 0.0025, 3: 0.01, 4: 0.01, 15: 0.01, 20: 0.001, 40: 0.001}),
        ("constant", {0: 0.0025, 3: 0.01, 4: 0.01, 20: 0.01}),
    ],
)
def test_schedules_at_their_corners(name, corners):
    schedule = learning_rate_schedule(config(schedule=name), 20)
    for step, rate in corners.items():
        assert float(schedule(step)) == pytest.approx(rate, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("warmup", [0, 1, 2, 7])
def test_a_warm_up_begins_at_its_first_share_of_the_peak(warmup):
    schedule = learning_rate_schedule(config(warmup_steps=warmup, schedule="constant"), 20)
    shares = [min(1.0, (step + 1) / warmup) if warmup else 1.0 for step in range(10)]
    np.testing.assert_allclose([float(schedule(s)) for s in range(10)], 0.01 * np.array(shares))


@pytest.mark.parametrize(
    ("changes", "steps", "warmup"),
    [
        ({"warmup_steps": 40}, 41, 40),  # one step is left behind it
        ({"warmup_steps": 40}, 40, 10),
        ({"warmup_steps": 40}, 20, 5),
        ({"warmup_steps": 40}, 1, 0),
        ({"warmup_steps": 40, "schedule": "wsd"}, 53, 40),  # 13 steps of decay
        ({"warmup_steps": 40, "schedule": "wsd"}, 52, 13),
        ({"warmup_steps": 40, "schedule": "wsd", "decay_share": 0.9}, 100, 10),
        ({"warmup_steps": 40, "schedule": "wsd", "decay_share": 1.0}, 100, 0),
    ],
)
def test_a_warm_up_that_nobody_asked_for_is_clipped_to_what_fits(changes, steps, warmup):
    clipped = config(**changes).clipped(steps)
    assert clipped.warmup_steps == warmup
    learning_rate_schedule(clipped, steps)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "cosin"}, "cosine, wsd, constant"),
        ({"warmup_steps": 20}, "does not fit"),
        ({"schedule": "wsd", "decay_share": 0.9}, "overlap"),
    ],
)
def test_impossible_schedules_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        learning_rate_schedule(config(**changes), 20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"name": "adam"},
            r"optimizer.name='adam' is unknown \(here it is called 'adamw'\); choose one of adamw",
        ),
        (
            {"adamw": {"beta2": 1.0}},
            r"optimizer.adamw.beta2 is 1.0, but must lie in \[0, 1\)",
        ),
        ({"warmup_steps": 20}, "does not fit"),
    ],
)
def test_impossible_optimizers_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        make_optimizer(config(**changes), 20)
