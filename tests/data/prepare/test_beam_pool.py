"""Preparing on Beam's multi-process runner: the same bytes as on one machine, the same errors."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lengthwise.common.errors import UserError
from lengthwise.data.config import ContaminationConfig, DataConfig
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.prepare.store_builder import StoreBuilder

pytest.importorskip("apache_beam", reason="needs requirements-beam.txt")

from lengthwise.data.prepare.beam_pool import BeamPool

FLAGS = (
    "--runner=DirectRunner",
    "--direct_num_workers=2",
    "--direct_running_mode=multi_processing",
)


def on_beam(config: DataConfig, directory: Path) -> None:
    pool = BeamPool(FLAGS, directory)
    StoreBuilder(config, directory).build(pool.map, pool.edges)


def contents(directory: Path) -> dict[str, bytes]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def with_families(folder: Path) -> None:
    """Copies and edits of the documents, so that there is something to cluster and to drop."""
    rng = random.Random(1)
    for path in sorted(folder.iterdir()):
        words = path.read_text().split()
        for edit in range(3):
            other = [w if rng.random() > 0.03 * edit else "new" for w in words]
            (folder / f"{path.stem}-{edit}.txt").write_text(" ".join(other))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "tokenizer": "train:bpe:300",
            "duplicates": "drop_near",
            "contamination": ContaminationConfig(2, 0.05, "training", ()),
        },
    ],
)
def test_the_same_bytes(config: DataConfig, tmp_path: Path, changes: dict[str, object]) -> None:
    with_families(tmp_path / "corpus")
    config = replace(config, **changes)  # type: ignore[arg-type]
    here = prepare(config, tmp_path / "here")
    prepare(config, tmp_path / "beam", on_beam)
    assert contents(tmp_path / "beam") == contents(tmp_path / "here")
    assert len(here.manifest.shards) > 5
    if changes:
        assert {"exact copies", "near-duplicates", "contaminated"} == set(here.manifest.skipped)
    else:
        assert np.bincount(here.document_clusters).max() >= 4


def test_errors_are_those_of_one_machine(config: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "corpus" / "17.txt").write_bytes(b"ok \xfe")
    with pytest.raises(UserError, match=r"17\.txt: not UTF-8 at byte 3"):
        prepare(config, tmp_path / "store", on_beam)
    (tmp_path / "corpus" / "17.txt").write_text("all is well")
    prepare(config, tmp_path / "store", on_beam)
