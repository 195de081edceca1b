"""Each seed moves its own stream and no other."""

import dataclasses

import jax
import numpy as np
import pytest

from lengthwise.configs.resolve import load
from lengthwise.configs.saved_config import check_config, claim_config, training_fingerprint
from lengthwise.train.phases import Phases
from lengthwise.train.programs.setup import Setup
from lengthwise.train.seeds import Seeds, SeedsConfig
from tests.train.runs import config

_STEPS = 60
STREAMS = ("parameters", "rows", "buckets", "drawn")


@pytest.fixture(scope="module")
def several_buckets(corpus):
    changes = {
        "model.dropout": 0.1,
        "phase.layout.smallest_bucket": 16,
        "phase.steps": _STEPS,
        "phase.budget_steps": _STEPS,
        "phase.curriculum.name": "natural",
    }
    return load(config(corpus, **changes), None)


@pytest.fixture(scope="module")
def streams(several_buckets, store):
    """Seeds -> what they decide, by name, and the fingerprint of a checkpoint."""
    compiled = {}

    def of(seeds):
        train = dataclasses.replace(several_buckets, seeds=SeedsConfig(**vars(seeds)))
        phases = Phases(train.phases, store, seeds)
        setup = Setup(train, phases, jax.devices()[:1])
        (phase,) = phases.phases
        draws = [phase.schedule.draw(step) for step in range(_STEPS)]
        rows = {length: [d.rows for d in draws if d.length == length] for length in phase.lengths}
        length = max(phase.lengths)
        if not compiled:
            compiled["step"] = setup.blueprint.compile_step((0, length))
            compiled["state"] = jax.device_get(setup.initial_state())
        batch = dict.fromkeys(
            ("inputs", "positions", "targets"), np.ones((phase.batch_size(length), length), int)
        )
        batch = {**batch, "segment_ids": batch["inputs"]}
        batch = {name: array.astype(np.int32) for name, array in batch.items()}
        # The same state and batch for all: what differs is what the step draws.
        state = jax.device_put(compiled["state"])
        _, metrics = compiled["step"](state, batch, setup.inputs(phase, 3, length))
        found = {
            "parameters": setup.initial_state().params["embedding"],
            "rows": np.concatenate([rows[length][0] for length in phase.lengths]),
            "buckets": [draw.length for draw in draws],
            "drawn": metrics["loss"],
        }
        assert found.keys() == set(STREAMS)
        return {name: np.asarray(x).tolist() for name, x in found.items()}, setup.fingerprint()

    return of


@pytest.mark.parametrize(
    ("own", "moved"),
    [
        ({"initialization": 7}, {"parameters"}),
        ({"order": 7, "buckets": 1}, {"rows"}),
        ({"order": 7}, {"rows", "buckets"}),
        ({"buckets": 7}, {"buckets"}),
        ({"dropout": 7}, {"drawn"}),
    ],
    ids=lambda names: "+".join(sorted(names)),  # not in the order of a set: it differs by process
)
def test_a_seed_moves_its_own_stream_alone(own, moved, streams):
    before, fingerprint = streams(SeedsConfig().following(1))
    after, other_fingerprint = streams(SeedsConfig(**own).following(1))
    assert {name for name in STREAMS if before[name] != after[name]} == moved
    assert fingerprint != other_fingerprint  # no checkpoint is gone on with under another seed


def test_what_names_no_seed_of_its_own_follows(streams):
    before, _ = streams(SeedsConfig().following(1))
    after, _ = streams(SeedsConfig().following(2))
    assert all(before[name] != after[name] for name in STREAMS)
    assert SeedsConfig(initialization=3, order=3, dropout=3).following(1) == Seeds(3, 3, 3, 3)


def test_runs_from_before_these_fields_go_on_and_are_seeds_of_one_training(corpus, tmp_path):
    saved = load(config(corpus, seed=4), None).resolved
    before = {name: value for name, value in saved.items() if name != "seeds"}
    claim_config(tmp_path, before)
    check_config(tmp_path, saved)
    assert training_fingerprint(saved) == training_fingerprint(before)
    crossed = load(config(corpus, **{"seeds.order": 5}), None).resolved
    assert training_fingerprint(crossed) != training_fingerprint(before)
