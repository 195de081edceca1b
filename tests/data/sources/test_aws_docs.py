"""The pages of the AWS reference are what they were when the package was pinned."""

import hashlib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.data.sources import aws_docs, make_source
from lengthwise.data.sources.source import Skipped
from tests.data.settings import source_config


def read_pages() -> list[tuple[str, str]]:
    source = make_source([source_config(source="aws_docs", path="")], ids=False)
    documents = [d for unit in source.units() for d in source.documents(unit, Skipped())]
    assert all(d.name.startswith(f"{d.group}/") for d in documents)
    return [(document.name, document.content) for document in documents]


def digest(pages: list[tuple[str, str]]) -> str:
    return hashlib.blake2b(repr(pages).encode(), digest_size=8).hexdigest()


def test_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = aws_docs._models()
    for service in ("sts", "sqs"):
        (tmp_path / service).symlink_to(models / service)
    monkeypatch.setattr(aws_docs, "_models", lambda: tmp_path)
    pages = read_pages()
    names = [name for name, _ in pages]
    assert names[:2] == ["sqs/AddPermission", "sqs/CancelMessageMoveTask"]
    text = dict(pages)["sts/GetCallerIdentity"]
    assert text.startswith("GetCallerIdentity\nReturns details about the IAM user or role whose")
    assert "\nAccount: The Amazon Web Services account ID number of the account that" in text
    assert not any("<p>" in page or "&quot;" in page for _, page in pages)
    assert digest(pages) == "7882d0e2b8775c12"


@pytest.mark.slow
def test_all_pages_and_their_lengths() -> None:
    pages = read_pages()
    assert digest(pages) == "d5e97bb06e2ba4ce"
    sizes = np.array([len(page.encode()) for _, page in pages])
    assert (len(pages), sizes.sum()) == (19_796, 51_259_899)
    logs = np.log(sizes)
    assert logs.std() == pytest.approx(1.11, abs=0.01)  # log-normal,
    assert ((logs - logs.mean()) ** 3).mean() / logs.std() ** 3 == pytest.approx(0.05, abs=0.02)


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_docs, "VERSION", "0.1")
    with pytest.raises(UserError, match=r"reads botocore 0\.1, but 1\.44\.5 is installed: pip"):
        read_pages()

    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(UserError, match=r"botocore 0\.1: pip install -r requirements-corpora\.txt"):
        read_pages()
