"""The config of a work directory: what a resumed run may change and what it may not."""

import copy

import pytest

from lengthwise.common.errors import UserError
from lengthwise.configs import saved_config
from lengthwise.train.config import CONFIG_VERSION

CONFIG = {
    "version": CONFIG_VERSION,
    "extensions": [],
    "seed": 0,
    "model": {"layers": 2, "embed_dim": 64, "remat": "none", "compute_dtype": "auto"},
    "mesh": {"tensor": 1},
    "train": {"log_every": 1},
    "phases": [
        {"steps": 10, "microbatches": 1, "layout": {"name": "decompose"}},
        {"steps": 5, "microbatches": 1, "layout": {}},
    ],
}


def changed(path, value):
    config = copy.deepcopy(CONFIG)
    *parents, last = path
    section = config
    for name in parents:
        section = section[name]
    section[last] = value
    return config


def test_the_same_config_is_accepted_again(tmp_path):
    saved_config.claim_config(tmp_path, CONFIG)
    saved_config.claim_config(tmp_path, CONFIG)
    assert saved_config.read_config(tmp_path) == CONFIG


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (("model", "embed_dim"), "model.embed_dim: 64 -> 3"),
        (("seed",), "seed: 0 -> 3"),
        (("phases", 0, "steps"), "phases.0.steps: 10 -> 3"),
        (("phases", 1, "layout"), "phases.1.layout"),
        (("model", "compute_dtype"), "model.compute_dtype: 'auto' -> 3"),
    ],
)
def test_a_contradiction_names_the_field_and_changes_nothing(tmp_path, path, field):
    saved_config.claim_config(tmp_path, CONFIG)
    with pytest.raises(UserError, match=field.replace("(", r"\(")):
        saved_config.claim_config(tmp_path, changed(path, 3))
    assert saved_config.read_config(tmp_path) == CONFIG


@pytest.mark.parametrize(
    "path",
    [
        ("train", "log_every"),
        ("phases", 1, "steps"),
        ("extensions",),
        # How the same steps are computed.
        ("phases", 0, "microbatches"),
        ("phases", 1, "microbatches"),
        ("model", "remat"),
        ("mesh", "tensor"),
    ],
)
def test_what_may_change_is_named_and_recorded(tmp_path, path):
    saved_config.claim_config(tmp_path, CONFIG)
    (line,) = saved_config.check_config(tmp_path, changed(path, 7))
    assert line.startswith(f"{'.'.join(map(str, path))}: ")
    assert line.endswith(" -> 7")
    saved_config.claim_config(tmp_path, changed(path, 7))
    assert saved_config.read_config(tmp_path) == changed(path, 7)


def test_only_scoring_may_change_the_scores_settings(tmp_path):
    # The best score and the patience of a run are of the targets that it began with.
    before = {**CONFIG, "eval": {"documents": 8}}
    saved_config.claim_config(tmp_path, before)
    other = {**CONFIG, "eval": {"documents": 9}}
    with pytest.raises(UserError, match=r"eval\.documents: 8 -> 9"):
        saved_config.check_config(tmp_path, other)
    saved_config.check_config(tmp_path, other, saved_config.FREE_IN_SCORING)
    with pytest.raises(UserError, match="seed"):
        saved_config.check_config(tmp_path, {**other, "seed": 1}, saved_config.FREE_IN_SCORING)


def test_a_field_that_is_gone_is_a_contradiction(tmp_path):
    saved_config.claim_config(tmp_path, CONFIG)
    fewer = copy.deepcopy(CONFIG)
    del fewer["model"]["embed_dim"]
    with pytest.raises(UserError, match="embed_dim: 64 -> None"):
        saved_config.claim_config(tmp_path, fewer)


def test_tuples_and_lists_are_alike(tmp_path):
    saved_config.claim_config(tmp_path, {**CONFIG, "odds": (1.0, 2.0)})
    saved_config.claim_config(tmp_path, {**CONFIG, "odds": [1.0, 2.0]})
