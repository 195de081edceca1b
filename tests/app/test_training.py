"""Runs that stop with an error, and how they go on."""

import dataclasses
import json
import shutil

import jax
import numpy as np

from lengthwise.train.programs.setup import Setup
from tests.app.runs import RUN, losses, steps_on_disk


def test_a_loss_that_is_no_number_and_the_way_on(
    refused, lengthwise, unscored, start, tmp_path, monkeypatch
):
    inputs = Setup.inputs

    def broken(self, phase, step, length):
        """Tables of no number, from the sixth step on."""
        made = inputs(self, phase, step, length)
        worse = jax.tree.map(lambda x: x * np.float32(np.nan), made.tables)
        return made if step < 5 else dataclasses.replace(made, tables=worse)

    with monkeypatch.context() as patch:
        patch.setattr(Setup, "inputs", broken)
        found = refused(*start, "--config.train.checkpoint_every=1")
    steps = len(losses(tmp_path / "run"))
    assert steps == 5
    kept = steps_on_disk(tmp_path / "run")[-1]
    assert f"at step {steps + 1} in bucket 32 " in found
    assert f"checkpoint {kept} is kept" in found
    config, _, *rest = start
    sane = (config, f"--workdir={tmp_path / 'sane'}", *rest)
    status, out, _ = lengthwise(*sane, f"--config.train.init_from={tmp_path / 'run'}")
    assert status == 0, out
    assert list(losses(tmp_path / "sane")) == list(range(1, 13))
    assert np.isfinite(list(losses(tmp_path / "sane").values())).all()


def test_a_store_that_changed_under_a_checkpoint(
    refused, lengthwise, unscored, tmp_path, corpus, start
):
    texts = shutil.copytree(corpus, tmp_path / "texts")
    config, workdir, *_ = start
    mine = (config, workdir, f"--config.data.path={texts}", *RUN)
    assert lengthwise(*mine)[0] == 0
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    shutil.rmtree(tmp_path / "run" / "store")  # the corpus makes the same again
    longer = (*mine, "--config.phase.steps=14")
    status, out, _ = lengthwise(*longer)
    assert status == 0, out
    assert "resuming at step 12 of 14" in out
    (layout,) = json.loads((tmp_path / "run" / "layouts.json").read_text())
    tokens = sum(bucket["sequences"] * bucket["length"] for bucket in layout["buckets"])
    assert f"\nepochs of 14 steps: {14 * 512 / tokens:.2f}\n" in out  # of one domain
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes().startswith(before[:1000])

    shutil.rmtree(tmp_path / "run" / "store")
    (texts / "000.txt").write_text("something else")
    assert "was trained on other data" in refused(*longer, "--config.phase.steps=16")
    assert steps_on_disk(tmp_path / "run")[-1] == 14


def test_init_from_what_does_not_fit(refused, lengthwise, unscored, start, tmp_path):
    config, _, *rest = start
    assert lengthwise(*start)[0] == 0
    other = (config, f"--workdir={tmp_path / 'other'}", *rest)
    there = f"--config.train.init_from={tmp_path / 'run'}"
    found = refused(*other, there, "--config.model.embed_dim=32")
    assert "holds another model: model.embed_dim: 16 -> 32 (there -> here)" in found
    shutil.rmtree(tmp_path / "other")
    assert "has no checkpoints" in refused(*other, f"--config.train.init_from={tmp_path}")
    # Fewer steps than the checkpoint has done.
    assert "at step 12, beyond the 8 steps" in refused(*start, "--config.phase.steps=8")
    assert steps_on_disk(tmp_path / "run")[-1] == 12
