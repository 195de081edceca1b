"""A task as a corpus: its documents are its samples; a store of it; settings that can't be."""

import dataclasses
import itertools

import numpy as np
import pytest
from ml_collections import ConfigDict

from lengthwise.common.errors import UserError
from lengthwise.configs import base, task
from lengthwise.configs.resolve import load
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.sources import make_source
from lengthwise.data.sources.source import Skipped
from lengthwise.data.sources.tasks import TaskSource, task_tokenizer
from lengthwise.data.tasks.config import HintConfig
from lengthwise.data.tasks.samples import TaskSamples
from lengthwise.data.tasks.sequences import rows_of
from tests.data.settings import source_config
from tests.data.tasks.test_formats import task_config

CONFIG = task_config("sort", samples=300, hints=(HintConfig("fill", 0.25),))


def test_documents_are_the_samples_in_order(monkeypatch):
    monkeypatch.setattr("lengthwise.data.sources.tasks._UNIT", 128)
    monkeypatch.setattr("lengthwise.data.sources.tasks._BATCH", 50)
    source = TaskSource(CONFIG)
    units = source.units()
    found = [d.content.tolist() for unit in units for d in source.documents(unit, Skipped())]
    samples = TaskSamples(CONFIG)
    assert len(units) > 1
    assert found == rows_of(samples.training(np.arange(samples.total)).tokens)


def test_units_are_done_again_only_when_their_samples_change(monkeypatch):
    monkeypatch.setattr("lengthwise.data.sources.tasks._UNIT", 128)
    keys = [unit.key for unit in TaskSource(CONFIG).units()]
    assert len(set(keys)) == len(keys)
    assert [unit.key for unit in TaskSource(CONFIG).units()] == keys
    other = dataclasses.replace(CONFIG, seed=1)
    assert not set(keys) & {unit.key for unit in TaskSource(other).units()}


def small(**changes: object) -> ConfigDict:
    config = task.get_config()
    config.data.workers = 1
    config.data.task.samples = 200
    with config.unlocked():
        for name, value in changes.items():
            config.data[name] = value
    return config


def test_a_store_holds_the_samples_and_is_that_of_its_task(tmp_path):
    experiment = load(small(), None)
    store = prepare(experiment.data, tmp_path / "store")
    samples = TaskSamples(experiment.data.sources[0].task)
    tokens = rows_of(samples.training(np.arange(200)).tokens)
    offsets = store.document_offsets
    held = [store.shards.read(int(a), int(b - a)).tolist() for a, b in itertools.pairwise(offsets)]
    assert held == tokens
    assert store.manifest.vocab_size == len(samples.symbols)
    assert "task sort" in store.manifest.source
    prepare(experiment.data, tmp_path / "store")  # opened, with the same settings
    other = small()
    other.data.task.lengths = (1, 7)
    with pytest.raises(UserError, match=r"data.task.lengths=\[1, 10\], not \[1, 7\]"):
        prepare(load(other, None).data, tmp_path / "store")


def test_settings_of_a_task_that_cannot_be():
    with pytest.raises(UserError, match="a task brings its own; leave it 'bytes'"):
        load(small(tokenizer="ids:5:0"), None)
    with pytest.raises(UserError, match="set it to 0"):
        load(small(near_duplicate_threshold=0.3), None)
    with pytest.raises(UserError, match=r"needs data.source='task'"):
        load(small(source="stdlib"), None)
    plain = base.get_config()
    plain.phase.layout.targets = "answers"
    with pytest.raises(UserError, match=r"phases\[0\].layout.targets='answers' needs data.source"):
        load(plain, None)
    none = small()
    none.data.task.samples = 0
    with pytest.raises(UserError, match="samples=0 must be at least 1"):
        TaskSource(load(none, None).data.sources[0].task).units()
    two = (
        source_config(source="task", path="", task=CONFIG, domain="a"),
        source_config(source="stdlib", path="", domain="b"),
    )
    with pytest.raises(UserError, match=r"mix tasks with data.task.hints"):
        make_source(two, ids=True)
    assert load(small(tokenizer=task_tokenizer(load(small(), None).data.sources[0].task)), None)
