"""Names of domains and files are kept as they are, and never become a path inside a store."""

import dataclasses
import os
from pathlib import Path

import pytest

from lengthwise.data.config import ContaminationConfig, DataConfig
from lengthwise.data.prepare.prepare import prepare
from tests.data.settings import of_sources, source_config

NAMES = (
    "../up",
    "/etc/x",
    "a/b",
    "..",
    "%s{0}$x_1$",
    "<b>\"'",
    "line\nbreak",
    "\u202eé",
    "x" * 999,
)


@pytest.mark.parametrize("name", NAMES)
def test_domains_of_any_name(config: DataConfig, tmp_path: Path, name: str) -> None:
    (corpus,) = config.sources
    mixed = of_sources(
        config, dataclasses.replace(corpus, domain=name), dataclasses.replace(corpus, domain="b")
    )
    check = ContaminationConfig(ngram=3, sources=(dataclasses.replace(corpus, domain=name),))
    before = set(tmp_path.rglob("*"))
    store = prepare(dataclasses.replace(mixed, contamination=check), tmp_path / "store")
    assert store.manifest.domains == (name, "b")
    assert name in store.manifest.contamination
    assert store.document_names[0].startswith(f"{name}/")
    outside = {path for path in tmp_path.rglob("*") if tmp_path / "store" not in path.parents}
    assert outside - before == {tmp_path / "store"}
    others = {path.name for path in (tmp_path / "store").rglob("*")}
    assert not any(part in others for part in (name, *name.split("/")) if part not in ("..", ""))


def test_files_of_any_name(config: DataConfig, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    names = [f"{name.replace('/', '_')[:200]}.txt".encode() for name in NAMES] + [b"\xff\xfe.txt"]
    folder.mkdir()
    for number, name in enumerate(dict.fromkeys(names)):
        with open(os.path.join(os.fsencode(folder), name), "w") as file:
            file.write(f"text of number {number} " * 20)
    source = source_config(path=str(folder))
    store = prepare(of_sources(config, source), tmp_path / "store")
    hidden = [name for name in names if name.startswith(b".")]
    assert store.manifest.num_documents == len(set(names)) - len(hidden)
    kept = {store.document_names[i] for i in range(store.manifest.num_documents)}
    assert "line\nbreak.txt" in kept
