"""What a checkpoint knows of its weights' meaning, and which contradictions are refused."""

import dataclasses
import json

import jax
import pytest

from lengthwise.common.errors import UserError
from lengthwise.common.settings import declarations, default_tree
from lengthwise.common.trees import build, flatten
from lengthwise.configs.resolve import load
from lengthwise.model.config import EXECUTION, ModelConfig
from lengthwise.model.positions.registry import SCHEMES
from lengthwise.model.positions.rope_scaling import RopeScaling
from lengthwise.train.checkpoint.checkpoints import Checkpoints
from lengthwise.train.checkpoint.init_from import weights_of
from lengthwise.train.checkpoint.meaning import differences, other_meaning, other_tokens
from lengthwise.train.loop.restore import read_host_state
from lengthwise.train.phases import Phases
from lengthwise.train.programs.setup import Setup
from tests.train.runs import config

TOKENS = {
    "tokenizer": "tokenizer.json 0a",
    "vocab_size": 300,
    "end_of_text": 0,
    "begin_of_text": None,
}
# Fields under which given weights are the same function: computed otherwise, or of training alone.
SAME_FUNCTION = {*EXECUTION, "dropout"}


def another(value):
    """Some other value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return (*value, "x") if isinstance(value, tuple) else f"{value}x"


def model_with(scheme="rope", **changes):
    """The model of all defaults, as a config has it, with another position scheme."""
    tree = {**default_tree(ModelConfig), **changes}
    return build(ModelConfig, {**tree, "positions": {**tree["positions"], "scheme": scheme}})


@pytest.mark.parametrize(("name", "declared"), list(declarations(ModelConfig)))
def test_every_field_of_a_model_is_part_of_its_meaning_or_named_as_none(name, declared):
    """A new field is part of it, unless someone says that it changes no function."""
    scheme = name.split(".")[1] if name.startswith("positions.") else ""
    model = model_with(scheme if scheme in SCHEMES.names() else "rope")
    assert (name in model.meaning()) == (name not in SAME_FUNCTION)
    if name in SAME_FUNCTION:
        return
    there = {"model": model.meaning()}
    here = {"model": {**model.meaning(), name: another(declared.default)}}
    (line,) = differences(there, here, "model")
    assert line.startswith(f"model.{name}: ")


def test_settings_of_schemes_that_are_not_in_use_mean_nothing():
    names = model_with("rope").meaning()
    assert "positions.rope.theta" in names
    assert not any(name.startswith("positions.kerple.") for name in names)


def test_a_meaning_is_the_same_through_json():
    model = model_with(layer_pattern=("rope", "none"))
    meaning = {"tokens": TOKENS, "model": model.meaning()}
    assert other_meaning(json.loads(json.dumps(meaning)), meaning) == []


def test_documents_that_came_as_ids_may_be_of_the_same_tokenizer():
    def tokens(**changes):
        return {"tokens": {**TOKENS, **changes}}

    ids = tokens(tokenizer="ids:300:0")
    assert other_tokens(tokens(), tokens()) == []
    assert other_tokens(tokens(), ids) == other_tokens(ids, tokens()) == []
    (line,) = other_tokens(tokens(), tokens(tokenizer="tokenizer.json 0b"))
    assert line == "tokens.tokenizer: 'tokenizer.json 0a' -> 'tokenizer.json 0b'"
    (line,) = other_tokens(ids, tokens(end_of_text=5))
    assert line == "tokens.end_of_text: 0 -> 5"


def test_a_token_before_each_document_may_be_new_but_not_another():
    none, zero, one = ({"tokens": {**TOKENS, "begin_of_text": each}} for each in (None, 0, 1))
    assert other_tokens(none, zero) == other_tokens(one, none) == []
    assert other_tokens(zero, one) == ["tokens.begin_of_text: 0 -> 1"]


@pytest.fixture(scope="module")
def trained(corpus, store, tmp_path_factory):
    """A checkpoint of a run, and what makes a setup of other settings or another store."""
    directory = tmp_path_factory.mktemp("run") / "checkpoints"

    def setup(manifest=store.manifest, **changes):
        experiment = load(config(corpus, **changes), None)
        other = type(store)(store.directory, manifest, store.shards)
        phases = Phases(experiment.phases, other, experiment.resolved_seeds)
        return Setup(experiment, phases, jax.devices()[:1])

    first = setup()
    checkpoints = Checkpoints(directory)
    host = {"fingerprint": first.fingerprint(), "meaning": first.meaning(3)}
    checkpoints.save(3, first.initial_state(), host, None)
    checkpoints.wait()
    yield checkpoints, setup
    checkpoints.close()


@pytest.mark.parametrize(
    ("changes", "tokens", "message"),
    [
        ({"model.logit_softcap": 30.0}, {}, "model.logit_softcap: 0.0 -> 30.0 "),
        ({"model.positions.rope.theta": 5e5}, {}, "model.positions.rope.theta: 10000.0 -> 500000"),
        ({}, {"end_of_text": 0}, "tokens.end_of_text: 256 -> 0 "),
        ({}, {"begin_of_text": 256}, "tokens.begin_of_text: None -> 256 "),
        ({}, {"tokenizer": "ids:257:256"}, "tokens.tokenizer: 'bytes' -> 'ids:257:256' "),
    ],
)  # fmt: skip
def test_scoring_a_checkpoint_under_another_meaning_is_refused(
    trained, store, changes, tokens, message
):
    checkpoints, setup = trained
    read_host_state(setup(**{"model.dropout": 0.3, "model.remat": "full"}), checkpoints, 3)
    other = setup(dataclasses.replace(store.manifest, **tokens), **changes)
    with pytest.raises(UserError, match="has weights of another meaning: ") as caught:
        read_host_state(other, checkpoints, 3)
    assert message in str(caught.value)


def test_init_from_refuses_other_tokens_and_prints_another_function(trained, capsys):
    checkpoints, setup = trained
    workdir = checkpoints._directory.parent
    extended = {"kind": "ntk", "factor": 4.0}
    other = setup(
        **{"model.logit_softcap": 30.0, "model.dropout": 0.3, "phase.rope_scaling": extended}
    )
    here, params = other.meaning(0), other.blueprint.abstract_params
    for field, value in (("end_of_text", 0), ("tokenizer", "tokenizer.json 0a")):
        tokens = {**here["tokens"], field: value}
        with pytest.raises(UserError, match=rf"for other tokens: tokens\.{field}: .* -> '?{value}"):
            weights_of(workdir, params, {**here, "tokens": tokens})
    weights_of(workdir, params, {**here, "tokens": {**here["tokens"], "tokenizer": "ids:257:256"}})
    assert capsys.readouterr().out.splitlines() == [
        f"train.init_from: {line} (there -> here)"
        for line in (
            "tokens.tokenizer: 'bytes' -> 'ids:257:256'",
            "model.logit_softcap: 0.0 -> 30.0",
            "rope_scaling.kind: 'none' -> 'ntk'",
            "rope_scaling.factor: 1.0 -> 4.0",
        )
    ]
    weights_of(workdir, params, setup().meaning(0))
    assert not capsys.readouterr().out


def test_the_scaling_is_that_of_the_phase(trained):
    _, setup = trained
    phases = ({"steps": 4}, {"steps": 2, "rope_scaling": {"kind": "linear", "factor": 4.0}})
    extended = setup(phases=phases)
    assert extended.meaning(4)["rope_scaling"] == flatten(dataclasses.asdict(RopeScaling()))
    (line,) = differences(extended.meaning(4), extended.meaning(5), "rope_scaling")[:1]
    assert line == "rope_scaling.kind: 'none' -> 'linear'"
