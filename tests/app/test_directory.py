"""A work directory of another config, a damaged one, one with nothing to score."""

import json

import pytest

from lengthwise.app import session, text
from lengthwise.app.session import Session
from lengthwise.app.text import TextScoring
from lengthwise.configs.resolve import load
from tests import tiny
from tests.app.runs import CONFIG, score_of_step


@pytest.fixture
def claimed(tmp_path, corpus, store):
    """A work directory's config.json, as a run with other fields left it."""

    def write(**fields):
        config = tiny.get_config()
        config.update_from_flattened_dict(
            {"data.path": str(corpus), "data.store": str(store), **fields}
        )
        path = tmp_path / "run" / "config.json"
        path.parent.mkdir()
        path.write_text(json.dumps(load(config, None).resolved))
        return path

    return write


def test_a_directory_of_another_config_names_the_field(refused, claimed, data):
    path = claimed()
    before = path.read_bytes()
    common = (f"--config={CONFIG}", f"--workdir={path.parent}", *data)
    found = refused(*common, "--config.model.embed_dim=32")
    assert "belongs to another config: model.embed_dim: 16 -> 32 (saved -> asked)" in found
    assert path.read_bytes() == before


def test_a_directory_knows_its_config(lengthwise, refused, claimed):
    """Whoever gives no --config goes on with its own; fields on top are those that may change."""
    path = claimed(**{"optimizer.warmup_steps": 3})
    alone = f"--workdir={path.parent}"
    for given in ((alone,), (alone, f"--config={path}")):
        status, out, errors = lengthwise(
            *given, "--mode=eval", "--config.eval.documents=9", "--config.phase.microbatches=2"
        )
        assert (status, len(errors)) == (2, 1)
        assert "holds no checkpoint; train first" in errors[0]
        assert "config: eval.documents: 16 -> 9 (saved -> now)\n" in out
        assert "config: phases.0.microbatches: 1 -> 2 (saved -> now)\n" in out
        assert out.count("(saved -> now)") == 2
    found = refused(alone, "--config.model.embed_dim=32")
    assert "belongs to another config: model.embed_dim: 16 -> 32 (saved -> asked)" in found
    assert "warmup_steps=100 does not fit" in refused(alone, "--config.optimizer.warmup_steps=100")
    assert "unknown config field --config.modl" in refused(alone, "--config.modl.layers=1")


def test_a_config_json_that_can_not_be_taken_is_one_line(refused, claimed):
    path = claimed()
    other = f"--workdir={path.parents[1] / 'other'}"
    saved = json.loads(path.read_text())
    for content, message in (
        ("{", "is not valid JSON"),
        ("{}", "is no config of a run"),
        (json.dumps({**saved, "version": 2}), "has version 2, and this Lengthwise reads version"),
        (json.dumps({**saved, "stale": 1}), "stale is no field"),
        (json.dumps({**saved, "seed": "x"}), "seed='x' has the type str"),
    ):
        path.write_text(content)
        assert message in refused(f"--config={path}", other)
        assert message in refused(f"--workdir={path.parent}")
    assert not (path.parents[1] / "other").exists()


@pytest.mark.parametrize("content", [b'{"seed": ', b"[]", b"\xff\xfe\x00", b""])
def test_a_damaged_config_json_is_named(refused, claimed, start, content):
    path = claimed()
    path.write_bytes(content)
    assert str(path) in refused(*start)
    assert path.read_bytes() == content


def test_there_is_nothing_to_score_without_a_run(refused, start, tmp_path):
    assert "holds no run" in refused(*start, "--mode=eval")
    assert not (tmp_path / "run").exists()


def test_there_is_nothing_to_score_without_a_checkpoint(refused, claimed, data):
    path = claimed()
    common = (f"--config={CONFIG}", f"--workdir={path.parent}", *data)
    assert "holds no checkpoint; train first" in refused(*common, "--mode=eval")


@pytest.mark.parametrize(("which", "step"), [("best", 4), ("last", 12)])
def test_the_reported_checkpoint_is_the_chosen_one(
    lengthwise, start, tmp_path, monkeypatch, which, step
):
    with monkeypatch.context() as patch:
        patch.setattr(
            TextScoring,
            "probe",
            score_of_step,
        )
        patch.setattr(Session, "score_checkpoint", lambda self, checkpoints: None)
        assert lengthwise(*start)[0] == 0
    scored = []

    def evaluate(source, make_scorer, identity, *_, **__):
        scored.append(identity.checkpoint_step)
        raise session.UserError("seen")

    monkeypatch.setattr(text, "evaluate", evaluate)
    lengthwise(*start, "--mode=eval", f"--config.eval.checkpoint={which}")
    assert scored == [step]
