"""Settings that are each allowed and may not fit together: model, layout, optimizer, scoring."""

from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from lengthwise.app.bad_input.case import KINDS, Case
from lengthwise.app.bad_input.values import allowed_value
from lengthwise.app.bad_input.work_directory import template
from lengthwise.app.scoring import Subject
from lengthwise.app.session import Session
from lengthwise.app.text import TextScoring
from lengthwise.configs import base
from lengthwise.configs.base import RunConfig
from lengthwise.configs.resolve import load
from lengthwise.data.store.token_store import TokenStore
from lengthwise.train.phases import Phases
from lengthwise.train.programs.blueprint import Blueprint
from lengthwise.train.programs.execution import Key
from lengthwise.train.programs.setup import Setup
from lengthwise.train.rules.data_steps import EVERY_DATA_STEP

_SECTIONS = ("model.", "optimizer.", "phase.", "stopping.", "anomaly.", "mesh.", "eval.", "seed")


@KINDS.register("run settings")
def run_settings(seed: int, folder: Path) -> Case:
    """One to three fields with values of their intervals; a run up to where it would compile."""
    rng = np.random.default_rng(seed)
    changes = dict(allowed_value(rng, _SECTIONS) for _ in range(int(rng.integers(1, 4))))
    config = _tiny()
    config.update_from_flattened_dict(changes)
    described = "; ".join(f"{name}={value!r}" for name, value in changes.items())
    return Case(described, lambda: _start(load(config, None), folder))


def _tiny() -> ConfigDict:
    config = base.get_config()
    config.data.source, config.data.path = "text", "nowhere"  # the store is there
    config.data.tokenizer = "train:bpe:280"
    config.model.layers, config.model.embed_dim, config.model.mlp_dim = 1, 16, 16
    config.model.num_heads, config.model.num_kv_heads, config.model.head_dim = 2, 1, 8
    config.phase.steps, config.phase.tokens_per_step = 20, 128
    config.phase.layout.smallest_bucket, config.phase.layout.largest_bucket = 16, 64
    config.optimizer.warmup_steps = 2
    config.eval.ratios, config.eval.documents = (0.5, 1.0, 2.0), 8
    config.eval.min_documents = 2
    return config


def _start(run: RunConfig, folder: Path) -> None:
    """What a start does before it compiles, and the trace of each bucket's step."""
    Session.check(run)
    store = TokenStore.open(template() / "store", verify=False)
    phases = Phases(run.phases, store, run.resolved_seeds, folder)
    setup = Setup(run, phases, jax.devices()[:1])
    scoring = TextScoring(Subject(run, store, phases, setup))
    scoring.compare_with_others(folder)
    for key in phases.keys(0, EVERY_DATA_STEP):
        _trace(setup.blueprint, key)


# What is traced already: what a case changes is often of the scoring alone.
_TRACED: set[str] = set()


def _trace(blueprint: Blueprint, key: Key) -> None:
    """Traces a bucket's step, and lowers the longest one's, unless an earlier case had the same."""
    config, phase = blueprint.config, blueprint.phase_shapes[key[0]]
    of_the_step = (config.optimizer, config.train, config.anomaly, config.mesh, config.seed)
    settings = (key, blueprint.model, phase.config, config.phases, *of_the_step)
    name = repr(settings)
    if name in _TRACED:
        return
    if key[1] == max(phase.lengths):
        blueprint.lower_step(key)
    else:
        blueprint.trace_step(key)
    _TRACED.add(name)
