"""Fields that came after CONFIG_VERSION was raised leave runs from before as they were."""

import hashlib
import json

import pytest

from lengthwise.common.errors import UserError
from lengthwise.common.settings import declarations
from lengthwise.configs import base, version
from lengthwise.configs import bytes as bytes_config
from lengthwise.configs.resolve import from_saved, load
from lengthwise.configs.saved_config import changes, training_fingerprint
from lengthwise.configs.version import deciding

SAVED = json.loads(json.dumps(load(base.get_config(), None).resolved))


def without(monkeypatch, *flags):
    """As if these fields had come later."""
    monkeypatch.setattr(version, "FIRST_FIELDS", version.FIRST_FIELDS - set(flags))


# SHA-256 of the sorted JSON of all fields, by the code that raised CONFIG_VERSION to 3: runs that
# are known by these are stored. Who changes one makes them other runs.
@pytest.mark.parametrize(
    ("config", "digest"),
    [
        (base, "9c6a68d51a86d5d9"),
        (bytes_config, "d21805cef6325481"),
    ],
)
def test_settings_from_before_are_known_as_ever(config, digest):
    fields = deciding(load(config.get_config(), None).resolved)
    content = json.dumps(fields, sort_keys=True).encode()
    assert hashlib.sha256(content).hexdigest()[:16] == digest


def test_every_first_field_is_there_still():
    assert {name for name, _ in declarations(base.RunConfig)} >= version.FIRST_FIELDS


def test_later_fields_count_where_they_are_set(monkeypatch):
    without(monkeypatch, "seed", "phase.tokens_per_step", "data.path")
    fields = deciding(SAVED)
    assert {"seed", "phases.0.tokens_per_step", "data.path"}.isdisjoint(fields)
    assert "phases.0.steps" in fields
    config = base.get_config()
    config.phases = ({}, {"tokens_per_step": 1024})
    config.data.mixture = ({"domain": "code", "path": "here"}, {"domain": "prose"})
    config.seed = 1
    fields = deciding(load(config, None).resolved)
    assert fields["seed"] == 1
    assert fields["phases.1.tokens_per_step"] == 1024
    assert "phases.0.tokens_per_step" not in fields
    assert fields["data.mixture.0.path"] == "here"
    assert "data.mixture.1.path" not in fields


def test_a_run_from_before_a_field_goes_on_at_its_default_alone(monkeypatch):
    old = {**SAVED, "phases": [dict(phase) for phase in SAVED["phases"]]}
    del old["phases"][0]["tokens_per_step"]
    with pytest.raises(UserError, match="of another version"):
        from_saved(old)
    assert changes(old, SAVED, ())[1] == ["phases.0.tokens_per_step: None -> 8192"]
    without(monkeypatch, "phase.tokens_per_step")
    assert from_saved(old).resolved == load(base.get_config(), None).resolved
    assert changes(old, SAVED, ()) == ([], [])
    assert training_fingerprint(old) == training_fingerprint(SAVED)
    config = base.get_config()
    config.phase.tokens_per_step = 4096
    asked = load(config, None).resolved
    assert changes(old, asked, ())[1] == ["phases.0.tokens_per_step: None -> 4096"]
    assert training_fingerprint(old) != training_fingerprint(asked)
