"""Names of the hub, by the layout of its cache, without a network."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from lengthwise.common.errors import UserError
from lengthwise.common.hub import hub_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache with one repository, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "tokenizer.json").write_text("{}")
    return snapshot


@pytest.mark.parametrize("name", ["hf:owner/name", "hf:owner/name@main", f"hf:owner/name@{COMMIT}"])
def test_a_cached_file_needs_no_network(cache: Path, name: str) -> None:
    path = hub_file(name, "tokenizer.json", "data.tokenizer")
    assert path.samefile(cache / "tokenizer.json")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:owner/other", "the hub can't be reached; where there is a network: hf download owner"),
        ("hf:owner/name@v2", "not in the cache"),
        ("hf:a/b/c", "see hf:OWNER/NAME"),
        ("hf:", "see hf:OWNER/NAME"),
    ],
)
def test_what_cannot_be_had_is_one_line(cache: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        hub_file(name, "tokenizer.json", "data.tokenizer")
    assert str(error.value).startswith(f"data.tokenizer={name!r}: ")
    assert "\n" not in str(error.value)
