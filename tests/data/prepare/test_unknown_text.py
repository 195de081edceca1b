"""Text that a tokenizer has no token for: refused, or counted and shown."""

from dataclasses import replace
from pathlib import Path

import pytest

from lengthwise.common.errors import UserError
from lengthwise.data.config import DataConfig
from lengthwise.data.prepare.prepare import prepare
from tests.data.settings import change_source
from tests.data.store import tokenizer_files as files

TEXTS = {
    "a.txt": "hello world",
    "b.txt": "hello 日本語 world",
    "c.txt": "hello 日本語 world",
    "d.txt": "語 hello 世",
    "e.txt": "old hello",
}


@pytest.fixture
def with_files(config: DataConfig, tmp_path: Path) -> DataConfig:
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    config = change_source(config, path=str(folder))
    config = replace(config, end_of_text_token=files.END, selection_share=0.0, report_share=0.0)
    files.save(files.bpe(), tmp_path)
    return replace(config, tokenizer=str(tmp_path / "tokenizer.json"))


@pytest.mark.parametrize("duplicates", ["keep", "drop_exact"])  # one reading, and two
def test_unknown_text_is_refused_with_its_place_an_example_and_a_way_out(
    with_files: DataConfig, tmp_path: Path, duplicates: str
) -> None:
    config = replace(with_files, duplicates=duplicates)
    with pytest.raises(UserError) as error:
        prepare(config, tmp_path / "store")
    said = str(error.value)
    assert said.startswith("b.txt: 3 characters have no token under tokenizer.json ")
    assert "such as '日本語'; use another tokenizer, or set data.unknown_text='allow'" in said
    assert "\n" not in said
    followed = {name.removeprefix("data."): value for name, value in error.value.advice.items()}
    prepare(replace(config, **followed), tmp_path / "store")


@pytest.mark.parametrize(
    ("duplicates", "documents", "characters"), [("keep", 3, 8), ("drop_exact", 2, 5)]
)
def test_allowed_unknown_text_is_counted_and_shown(
    with_files: DataConfig, tmp_path: Path, duplicates: str, documents: int, characters: int
) -> None:
    config = replace(with_files, duplicates=duplicates, unknown_text="allow")
    store = prepare(config, tmp_path / "store")
    assert store.manifest.unknown_text == {
        "documents": documents,
        "characters": characters,
        "examples": ["日本語", "語", "世"],
    }
    start, end = store.document_offsets[1:3].tolist()
    assert store.tokenizer().decode(store.read(start, end - start)) == "hello  world"


def test_a_tokenizer_that_knows_every_text_is_asked_nothing(
    with_files: DataConfig, tmp_path: Path
) -> None:
    files.save(files.sentencepiece_bpe(), tmp_path)
    store = prepare(with_files, tmp_path / "store")
    assert store.manifest.unknown_text == {}
