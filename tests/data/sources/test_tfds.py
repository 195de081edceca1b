"""TFDS without TensorFlow: the embedded corpus written as a dataset, and read as it was."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from lengthwise.common.errors import UserError
from lengthwise.data.sources import files, make_source
from lengthwise.data.sources import tfds as stdlib_tfds
from lengthwise.data.sources import tfds as tfds_source
from lengthwise.data.sources.source import Skipped
from lengthwise.data.sources.text_files import StdlibSource
from tests.data.settings import read_all, source_config


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> StdlibSource:
    """A library of files small enough that the dataset is written in no time."""
    root = tmp_path_factory.mktemp("library")
    for i in range(40):
        (root / f"p{i % 4}").mkdir(exist_ok=True)
        (root / f"p{i % 4}" / f"m{i}.py").write_text(f"name = 'ä {i}'\n" * (i + 1))
    return StdlibSource(root)


@pytest.fixture(scope="module")
def data_dir(library: StdlibSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tfds")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stdlib_tfds, "_source", lambda: library)
        stdlib_tfds.build(str(directory))
        numbers = Numbers(data_dir=str(directory), file_format="array_record")
        numbers.download_and_prepare()
    return directory


class Numbers(tfds.core.GeneratorBasedBuilder):
    """Documents of token ids; the second has none."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        ids = tfds.features.Tensor(shape=(None,), dtype=np.int32)
        features = {"ids": ids, "list": tfds.features.Sequence(np.int64)}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: object) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Any:
        for i, size in enumerate((3, 0, 2)):
            yield i, {"ids": np.arange(size, dtype=np.int32), "list": list(range(size))}


def source_of(data_dir: Path, ids: bool = False, **changes: object) -> Any:
    settings = {"source": "tfds", "path": str(data_dir), "tfds_name": "embedded_stdlib"}
    return make_source([source_config(**{**settings, **changes})], ids)


def test_the_embedded_corpus_comes_back(
    data_dir: Path, library: StdlibSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MIN_UNIT_BYTES", 2_000)
    source = source_of(data_dir, group_field="group")
    units = source.units()
    assert len(units) > 5
    assert len({unit.key for unit in units}) == len(units)
    found = [d for unit in units for d in source.documents(unit, Skipped())]
    expected = [d for unit in library.units() for d in library.documents(unit, Skipped())]
    assert [(d.content, d.group) for d in found] == [(d.content, d.group) for d in expected]
    assert [d.name for d in found] == [f"train:{i}" for i in range(40)]
    assert "tensorflow" not in sys.modules


@pytest.mark.slow
def test_the_library_of_this_interpreter_comes_back(tmp_path: Path) -> None:
    stdlib_tfds.build(str(tmp_path))
    expected, _ = read_all(make_source([source_config(source="stdlib")], ids=False))
    assert list(read_all(source_of(tmp_path))[0].values()) == list(expected.values())


def test_a_part_of_a_split(data_dir: Path) -> None:
    whole = list(read_all(source_of(data_dir))[0].values())
    part, _ = read_all(source_of(data_dir, tfds_split="train[50%:75%]"))
    assert list(part.values()) == whole[20:30]
    both, _ = read_all(source_of(data_dir, tfds_split="train[:2]+train[4:5]"))
    assert list(both.values()) == [*whole[:2], whole[4]]


@pytest.mark.parametrize("field", ["ids", "list"])
def test_token_ids(data_dir: Path, field: str) -> None:
    changes = {"tfds_name": "numbers", "field": field, "ids": True}
    with pytest.raises(UserError, match=r"^numbers, split train: example 1: a document with no"):
        read_all(source_of(data_dir, **changes))
    documents, skipped = read_all(source_of(data_dir, empty_documents="skip", **changes))
    assert [ids.tolist() for ids in documents.values()] == [[0, 1, 2], [0, 1]]
    assert skipped == {"empty": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tfds_name": "no_such"}, "'no_such': Dataset no_such not found.*tfds build no_such "),
        ({"tfds_name": "embedded_stdlib:3.0.0"}, r"3\.0\.0.*tfds build"),
        ({"tfds_name": "mnist"}, "mnist' is not prepared at .*: tfds build mnist --file_format="),
        ({"tfds_split": "test"}, r"Unknown split 'test'.*splits: train"),
        ({"tfds_split": "train[1"}, "tfds_split='train.1' of embedded_stdlib"),
        (
            {"tfds_split": "train[5:5]"},
            r"tfds_split='train.5:5.' of embedded_stdlib has no examples",
        ),
        ({"field": "body"}, "embedded_stdlib: no field 'body' .*; there is name, text, group"),
        ({"group_field": "site"}, r"no field 'site' \(data\.group_field\)"),
        ({"tfds_name": "numbers", "field": "ids"}, "^numbers, split train: example 0: field 'ids'"),
        ({"path": "gs://corpora/tfds"}, "gcsfuse --implicit-dirs corpora"),
    ],
)
def test_what_can_not_be_read_is_named(data_dir: Path, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_all(source_of(data_dir, **changes))
    assert "\n" not in str(caught.value)


def test_a_dataset_that_vanishes_or_breaks(data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "tfds").symlink_to(data_dir)
    source = source_of(tmp_path / "tfds")
    (unit,) = source.units()
    (tmp_path / "tfds").unlink()
    with pytest.raises(UserError, match=r"cannot read .*dataset_info\.json: No such file"):
        list(source.documents(unit, Skipped()))
    tfds_source._open.cache_clear()


@pytest.mark.parametrize("damage", ["emptied", "junk", "cut", "null", "removed"])
def test_a_damaged_dataset_is_one_line(data_dir: Path, tmp_path: Path, damage: str) -> None:
    files = sorted(path for path in (data_dir / "numbers").rglob("*") if path.is_file())
    assert {path.suffix for path in files} >= {".json"}
    for number, path in enumerate(files):
        copy = tmp_path / str(number)
        shutil.copytree(data_dir / "numbers", copy / "numbers")
        target, content = copy / path.relative_to(data_dir), path.read_bytes()
        changed = {"emptied": b"", "junk": b"junk" * 50, "cut": content[:-9], "null": b"null"}
        target.write_bytes(changed.get(damage, b""))
        if damage == "removed":
            target.unlink()
        config = {"tfds_name": "numbers:1.0.0", "field": "ids", "empty_documents": "skip"}
        message, documents = "", {}
        try:
            documents, _ = read_all(source_of(copy, ids=True, **config))
        except UserError as error:
            message = str(error)
        works = [d.tolist() for d in documents.values()] == [[0, 1, 2], [0, 1]]
        assert works != bool(message), path
        assert "\n" not in message
        tfds_source._open.cache_clear()
