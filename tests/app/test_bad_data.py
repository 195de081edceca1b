"""A corpus that can't be used, and sizes that don't fit it: one line, before any training."""

import os
import re
import shutil
from pathlib import Path

import pytest

from lengthwise.app.text import TextScoring
from tests.app.runs import CONFIG, steps_on_disk


@pytest.fixture
def prepare(refused, tmp_path):
    """The line with which preparing a corpus of these files fails."""

    def run(files, *arguments):
        folder = tmp_path / "texts"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        workdir = f"--workdir={tmp_path / 'run'}"
        common = (f"--config={CONFIG}", workdir, f"--config.data.path={folder}")
        found = refused(*common, *arguments)
        assert not (tmp_path / "run" / "config.json").exists()
        assert not (tmp_path / "run" / "store" / "manifest.json").exists()
        return found

    return run


def test_a_corpus_that_is_not_there(refused, tmp_path):
    common = (f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}")
    assert "data.path" in refused(*common)
    assert f"'{tmp_path}/x' is not a folder" in refused(*common, f"--config.data.path={tmp_path}/x")
    missing = refused(*common, f"--config.data.path={tmp_path}/x", "--config.data.source=jsonl")
    assert f"'{tmp_path}/x' is not a folder" in missing


def test_an_empty_corpus(prepare):
    assert "no file that matches data.pattern='**/*.txt' there" in prepare({})


def test_a_file_that_is_not_text(prepare):
    found = prepare({"good.txt": b"good", "bad.txt": b"abc\xff"})
    assert "bad.txt: not UTF-8 at byte 3" in found


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux's /proc")
def test_a_file_that_can_not_be_read(prepare, tmp_path):
    # Reading it fails for root too, whom file modes don't stop.
    (tmp_path / "broken").symlink_to("/proc/self/mem")
    assert "cannot read" in prepare({}, f"--config.data.path={tmp_path / 'broken'}")


def test_a_broken_json_line_is_named(prepare):
    lines = b'{"text": "one"}\n{"text": "two"}\n{"text": thr\n'
    found = prepare({"a.jsonl": lines}, "--config.data.source=jsonl")
    assert re.search(r"a\.jsonl\D+3\D.*broken JSON at column 10", found)


@pytest.mark.parametrize("mode", ["train", "prepare"])
def test_a_document_with_no_tokens_is_named(prepare, mode):
    found = prepare({"a.txt": b"some", "empty.txt": b""}, f"--mode={mode}")
    assert "empty.txt: a document with no tokens" in found
    assert "data.empty_documents='skip'" in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("phase.tokens_per_step=528", "tokens_per_step = 528 is not divisible by bucket 32"),
        ("phase.tokens_per_step=1048576", "no bucket holds the 1048576 tokens of one step"),
        ("eval.sinks=32", "eval.sinks is 32, but the Lambda mask shows 32"),
        (
            "eval.methods=('yarm',)",
            "eval.methods names 'yarm', which is unknown; choose from .*yarn",
        ),
        ("model.num_kv_heads=3", "model.num_heads=2 must be a multiple of model.num_kv_heads=3"),
        ("train.stage_directory=x", "needs sampling.shuffle_blocks of every phase"),
        ("eval.compare=('{run}',)", r"eval\.compare names \S+/run, the work directory itself"),
        ("mesh.tensor=3", "mesh.tensor=3 does not divide the 8 devices"),
    ],
)
def test_what_can_not_be_run_fails_before_training(refused, start, tmp_path, change, message):
    change = change.format(run=tmp_path / "run")
    assert re.search(message, refused(*start, f"--config.{change}"))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert not (tmp_path / "run" / "config.json").exists()  # the directory is still free


def test_a_shard_that_shrinks_under_the_run(refused, monkeypatch, start, store, tmp_path):
    copy = shutil.copytree(store, tmp_path / "store")

    def probe(self, params, step):
        for shard in (copy / "shards").iterdir():
            os.truncate(shard, 10)
        return {"stopping_score": float(step)}

    monkeypatch.setattr(TextScoring, "probe", probe)
    found = refused(
        *start,
        f"--config.data.store={copy}",
        "--config.phase.steps=40",
        "--config.train.prefetch=1",
        "--config.train.memory_bytes=0",  # else it is in memory by then
    )
    assert re.search(
        r"shards/\S+ gave \d+ of \d+ bytes .*: it was damaged; copy it again, or delete .*/store",
        found,
    )
    assert steps_on_disk(tmp_path / "run") == [4]  # to go on from
