"""Paths of users: addresses, homes, and the fields that are declared as paths."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from lengthwise.common.errors import UserError
from lengthwise.common.paths import user_path
from lengthwise.configs.base import RunConfig, get_config
from lengthwise.configs.resolve import load

PATHS = (
    *("data.path", "data.store", "data.tokenizer", "train.init_from", "train.stage_directory"),
    *("eval.haystack", "eval.qa_1", "eval.qa_2", "eval.compare", "generate.prompts"),
    "export.path",
)


def declared_paths(settings: Any, prefix: str = "") -> set[str]:
    """Fields of a settings object, and of those in it, that are declared as paths."""
    names = set()
    for field in dataclasses.fields(settings):
        value, name = getattr(settings, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value) and "registry" not in field.metadata:
            names |= declared_paths(value, f"{name}.")
        elif field.metadata.get("path"):
            names.add(name)
    return names


def test_these_fields_are_paths() -> None:
    assert declared_paths(RunConfig()) == set(PATHS)


@pytest.mark.parametrize("field", PATHS)
def test_an_address_in_any_field_is_refused_with_the_config(field: str) -> None:
    config = get_config()
    address = "gs://bucket/a/b"
    section, name = field.split(".")
    config[section][name] = (address,) if name == "compare" else address
    with pytest.raises(UserError) as error:
        load(config, None)
    assert str(error.value) == (
        f"{field}='gs://bucket/a/b': mount the bucket (gcsfuse --implicit-dirs bucket /mnt/bucket) "
        f"and set {field}='/mnt/bucket/a/b'"
    )


@pytest.mark.parametrize("text", ["gs://b/x", "gs:/b/x", "s3://b", "hf://datasets/c4", "a\0b"])
def test_what_is_no_local_path(text: str) -> None:
    with pytest.raises(UserError, match=r"^--workdir="):
        user_path(text, "--workdir")


def test_local_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    same = ("a/b", "/a", "~backup", "a:b", "c:/x", "ä /x")
    assert [str(user_path(text, "--workdir")) for text in same] == list(same)
    assert user_path("~/runs/1", "--workdir") == Path("/home/someone/runs/1")
    assert user_path("~", "--workdir") == Path("/home/someone")
    assert user_path("x", "--workdir") == Path("x")
