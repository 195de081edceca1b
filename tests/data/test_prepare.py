"""Preparing a store: the same bytes however it was made, however often it was killed."""

import dataclasses
import errno
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from data import corpora, corpus_scan, store_writer
from data.prepare import DataConfig, prepare
from data.splits import Split
from errors import UserError

ROOT = Path(__file__).parents[2]
END = "<|endoftext|>"


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several units from a small corpus."""
    monkeypatch.setattr(corpora, "_MIN_UNIT_BYTES", 4_000)


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    rng = random.Random(0)
    (tmp_path / "corpus").mkdir()
    for i in range(30):
        words = [f"w{rng.randrange(500)}" for _ in range(rng.randrange(20, 300))]
        (tmp_path / "corpus" / f"{i:02d}.txt").write_text(" ".join(words))
    return DataConfig(
        source="text",
        path=str(tmp_path / "corpus"),
        pattern="*.txt",
        field="",
        empty_documents="error",
        tokenizer="bytes",
        end_of_text_token=END,
        shard_tokens=2_500,
        workers=1,
        selection_share=0.1,
        report_share=0.1,
        split_seed=0,
        near_duplicate_threshold=0.35,
        verify=True,
    )


def contents(directory: Path) -> dict[str, bytes]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def test_every_document_ends_once(config: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "corpus" / "99.txt").write_text(f"spelled {END} out")
    for i, tokenizer in enumerate(("bytes", "train:bpe:400")):
        store = prepare(dataclasses.replace(config, tokenizer=tokenizer), tmp_path / str(i))
        own = store.tokenizer()
        for document in range(store.manifest.num_documents):
            start, end = store.document_offsets[document : document + 2].tolist()
            ids = store.read(start, end - start)
            assert np.flatnonzero(ids == store.manifest.end_of_text).tolist() == [ids.size - 1]
            path = tmp_path / "corpus" / store.document_names[document]
            assert own.decode(ids) == path.read_text()


def test_number_of_workers_leaves_no_trace(config: DataConfig, tmp_path: Path) -> None:
    prepare(config, tmp_path / "one")
    prepare(dataclasses.replace(config, workers=2), tmp_path / "two")
    assert len(list((tmp_path / "one" / "shards").iterdir())) > 5
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_what_the_fingerprints_know(config: DataConfig, tmp_path: Path) -> None:
    manifests = []

    def make(**changes: object) -> tuple[str, str]:
        changed = dataclasses.replace(config, **changes)  # type: ignore[arg-type]
        store = prepare(changed, tmp_path / f"store{len(manifests)}")
        manifests.append(store.manifest)
        return store.manifest.corpus_fingerprint, store.manifest.fingerprint

    corpus, whole = make()
    assert make(shard_tokens=100_000) == (corpus, whole)
    assert make(tokenizer="train:bpe:300")[0] == corpus
    assert make(tokenizer="train:bpe:300")[1] != whole
    for change in (
        {"split_seed": 1},
        {"selection_share": 0.2},
        {"report_share": 0.2},
        {"near_duplicate_threshold": 0.5},
    ):
        assert make(**change)[0] != corpus
    os.rename(tmp_path / "corpus" / "00.txt", tmp_path / "corpus" / "98.txt")
    assert make()[0] != corpus, "the order of texts counts"
    os.rename(tmp_path / "corpus" / "98.txt", tmp_path / "corpus" / "00.txt")
    # The same texts from another kind of source, in other units.
    lines = [
        json.dumps({"body": path.read_text()}) for path in sorted((tmp_path / "corpus").iterdir())
    ]
    (tmp_path / "all.jsonl").write_text("\n".join(lines))
    path = str(tmp_path / "all.jsonl")
    assert make(source="jsonl", path=path, field="body") == (corpus, whole)


def test_near_duplicates_stay_together(config: DataConfig, tmp_path: Path) -> None:
    for i in range(30):
        text = (tmp_path / "corpus" / f"{i:02d}.txt").read_text()
        (tmp_path / "corpus" / f"copy{i:02d}.txt").write_text("copied " + text)
    store = prepare(config, tmp_path / "store")
    side = dict(zip(store.document_names, store.document_splits.tolist(), strict=True))
    cluster = dict(zip(store.document_names, store.document_clusters.tolist(), strict=True))
    assert set(side.values()) == set(Split)
    for i in range(30):
        assert cluster[f"{i:02d}.txt"] == cluster[f"copy{i:02d}.txt"]
        assert side[f"{i:02d}.txt"] == side[f"copy{i:02d}.txt"]


def test_tokenizer_is_trained_on_the_train_split_alone(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    train_bpe = corpus_scan.train_bpe

    def spy(texts: object, vocab_size: int, end: str) -> bytes:
        seen.extend(texts)  # type: ignore[call-overload]
        return train_bpe(seen, vocab_size, end)

    monkeypatch.setattr(corpus_scan, "train_bpe", spy)
    store = prepare(dataclasses.replace(config, tokenizer="train:bpe:300"), tmp_path / "store")
    names = [store.document_names[i] for i in store.documents(Split.TRAIN)]
    assert len(names) < store.manifest.num_documents
    assert seen == [(tmp_path / "corpus" / name).read_text() for name in names]
    given = tmp_path / "store" / "tokenizer.json"
    same = prepare(dataclasses.replace(config, tokenizer=str(given)), tmp_path / "given")
    assert same.manifest.fingerprint == store.manifest.fingerprint


def test_documents_without_tokens(config: DataConfig, tmp_path: Path) -> None:
    """A tokenizer may leave nothing of a text that is not empty."""
    prepare(dataclasses.replace(config, tokenizer="train:bpe:300"), tmp_path / "trained")
    tokenizer = json.loads((tmp_path / "trained" / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Strip", "strip_left": True, "strip_right": True}
    (tmp_path / "strip.json").write_text(json.dumps(tokenizer))
    (tmp_path / "corpus" / "05.txt").write_text(" \n ")
    config = dataclasses.replace(config, tokenizer=str(tmp_path / "strip.json"))
    with pytest.raises(UserError, match=r"05\.txt: a document with no tokens"):
        prepare(config, tmp_path / "store")
    store = prepare(dataclasses.replace(config, empty_documents="skip"), tmp_path / "store")
    assert store.manifest.skipped == {"no tokens": 1}
    assert "05.txt" not in store.document_names
    assert store.manifest.num_documents == len(store.document_names) == 29
    assert store.document_offsets[-1] == store.manifest.num_tokens
    start, end = store.document_offsets[5:7].tolist()
    text = (tmp_path / "corpus" / "06.txt").read_text()
    assert store.tokenizer().decode(store.read(start, end - start)) == text


def test_a_finished_store_needs_neither_source_nor_write_access(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = prepare(config, tmp_path / "store").manifest
    for path in (tmp_path / "corpus").iterdir():
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*")}
    monkeypatch.setattr(fcntl, "flock", None)
    assert prepare(config, tmp_path / "store").manifest == made
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*")} == before


def test_a_store_of_other_settings_is_refused(config: DataConfig, tmp_path: Path) -> None:
    prepare(config, tmp_path / "store")
    prepare(dataclasses.replace(config, workers=2, verify=False), tmp_path / "store")
    for field, value in (("split_seed", 3), ("shard_tokens", 7), ("tokenizer", "train:bpe:300")):
        other = dataclasses.replace(config, **{field: value})
        with pytest.raises(UserError, match=rf"data\.{field}=.*not {value!r}; choose another"):
            prepare(other, tmp_path / "store")


def test_another_tokenizer_under_the_same_name_is_refused(
    config: DataConfig, tmp_path: Path
) -> None:
    for size in (300, 310):
        trained = dataclasses.replace(config, tokenizer=f"train:bpe:{size}")
        prepare(trained, tmp_path / str(size))
    given = tmp_path / "tokenizer.json"
    given.write_bytes((tmp_path / "300" / "tokenizer.json").read_bytes())
    config = dataclasses.replace(config, tokenizer=str(given))
    store = prepare(config, tmp_path / "store")
    given.write_bytes((tmp_path / "310" / "tokenizer.json").read_bytes())
    with pytest.raises(UserError, match=r"tokenizer\.json is now"):
        prepare(config, tmp_path / "store")
    given.unlink()
    assert prepare(config, tmp_path / "store").tokenizer().vocab_size == store.manifest.vocab_size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shard_tokens": 0}, "shard_tokens=0 must be positive"),
        ({"workers": -1}, "workers=-1 must be positive"),
        ({"near_duplicate_threshold": 0.0}, "near_duplicate_threshold=0.0 must be above 0"),
        ({"near_duplicate_threshold": 1.5}, "near_duplicate_threshold=1.5 must be above 0"),
        ({"selection_share": 0.6, "report_share": 0.5}, "leave nothing to train on"),
        ({"tokenizer": "train:bpe:3"}, "at least 257"),
        ({"tokenizer": "absent.json"}, "cannot read data.tokenizer='absent.json'"),
        ({"source": "web"}, "must be one of stdlib, text, jsonl"),
        ({"pattern": "*.md"}, r"no file in .* matches data.pattern='\*\.md'"),
    ],
)
def test_impossible_settings(
    config: DataConfig, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        prepare(dataclasses.replace(config, **changes), tmp_path / "store")  # type: ignore[arg-type]


def test_a_corpus_without_documents(config: DataConfig, tmp_path: Path) -> None:
    for path in (tmp_path / "corpus").iterdir():
        path.write_text("")
    with pytest.raises(UserError, match="the corpus is empty"):
        prepare(dataclasses.replace(config, empty_documents="skip"), tmp_path / "store")


def test_errors_come_back_from_workers(config: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "corpus" / "17.txt").write_bytes(b"ok \xfe")
    with pytest.raises(UserError, match=r"17\.txt is not UTF-8 at byte 3"):
        prepare(dataclasses.replace(config, workers=2), tmp_path / "store")


def test_full_disk_loses_nothing(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(config, tmp_path / "undisturbed")
    fsync, calls = os.fsync, iter(range(1_000))

    def full(file: int) -> None:
        if next(calls) >= 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"cannot write .*No space left on device.*run again"):
            prepare(config, tmp_path / "store")
    assert not list((tmp_path / "store").rglob("*.tmp"))
    scanned: list[int] = []
    scan_unit = corpus_scan.scan_unit
    monkeypatch.setattr(
        corpus_scan, "scan_unit", lambda task: scanned.append(task.unit.index) or scan_unit(task)
    )
    prepare(config, tmp_path / "store")
    assert scanned
    assert min(scanned) == 3, "the three units that were written are kept"
    assert contents(tmp_path / "store") == contents(tmp_path / "undisturbed")


def interrupt_tokenizing(config: DataConfig, directory: Path, after: int) -> None:
    """Prepares until `after` units are tokenized, then raises."""
    calls = iter(range(1_000))

    def stop(task: store_writer.TokenizeTask) -> store_writer.Progress:
        if next(calls) == after:
            raise KeyboardInterrupt
        return store_writer.tokenize_unit(task)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("data.prepare.tokenize_unit", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(config, directory)


def test_continuing_reads_changed_files_again(config: DataConfig, tmp_path: Path) -> None:
    interrupt_tokenizing(config, tmp_path / "store", after=4)
    changed = tmp_path / "corpus" / "01.txt"
    changed.write_text("something else altogether " * 20)
    (tmp_path / "corpus" / "31.txt").write_text("a new one")
    prepare(config, tmp_path / "store")
    prepare(config, tmp_path / "undisturbed")
    assert contents(tmp_path / "store") == contents(tmp_path / "undisturbed")


def test_continuing_under_other_settings_mixes_nothing(config: DataConfig, tmp_path: Path) -> None:
    interrupt_tokenizing(config, tmp_path / "store", after=4)
    config = dataclasses.replace(config, tokenizer="train:bpe:300", shard_tokens=400, split_seed=4)
    prepare(config, tmp_path / "store")
    prepare(config, tmp_path / "undisturbed")
    assert contents(tmp_path / "store") == contents(tmp_path / "undisturbed")


def test_a_file_that_changes_during_preparation(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "corpus" / "20.txt"
    text, status = changed.read_text(), changed.stat()

    def change(task: store_writer.TokenizeTask) -> store_writer.Progress:
        changed.write_text(text[::-1])
        os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))  # the worst case
        return store_writer.tokenize_unit(task)

    with monkeypatch.context() as patched:
        patched.setattr("data.prepare.tokenize_unit", change)
        with pytest.raises(UserError, match="the corpus changed during preparation"):
            prepare(config, tmp_path / "store")
    prepare(config, tmp_path / "store")
    prepare(config, tmp_path / "undisturbed")
    assert contents(tmp_path / "store") == contents(tmp_path / "undisturbed")


def test_one_process_at_a_time(
    config: DataConfig, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "store").mkdir()
    stores = []
    with open(tmp_path / "store" / "lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=lambda: stores.append(prepare(config, tmp_path / "store")))
        thread.start()
        waited = ""
        while "waiting for another process" not in waited:
            assert thread.is_alive()
            waited += capfd.readouterr().err
            time.sleep(0.01)
        assert not (tmp_path / "store" / "building").exists()
    thread.join()
    assert len(stores) == 1


KILLED_AT_EACH_WRITE = """
    import os, shutil, signal, sys
    from pathlib import Path
    from data import corpora
    from data.prepare import DataConfig, prepare

    corpora._MIN_UNIT_BYTES = 4_000
    config, work = DataConfig(**CONFIG), Path(sys.argv[1])
    replace, unlink, rmtree = os.replace, Path.unlink, shutil.rmtree

    def killed_at(directory, moment):
        "Prepares in a child that kills itself at that moment; False when it comes to its end."
        child = os.fork()
        if child == 0:
            moments = iter(range(10**6))
            def kill():
                if next(moments) == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
            def around(function):
                def wrapped(*arguments, **options):
                    kill()
                    result = function(*arguments, **options)
                    kill()
                    return result
                return wrapped
            os.replace, Path.unlink = around(replace), around(unlink)
            shutil.rmtree = around(rmtree)
            prepare(config, directory)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL, status
        return status != 0

    moment = 0
    while killed_at(work / str(moment), moment):
        moment += STRIDE
    # And one that is killed a little further on in each of many runs.
    for further in range(0, 60, 5):
        killed_at(work / "often", further)
    print(moment)
"""

PREPARED = """
    import sys
    from pathlib import Path
    from data import corpora
    from data.prepare import DataConfig, prepare

    if __name__ == "__main__":
        corpora._MIN_UNIT_BYTES = 500
        prepare(DataConfig(**CONFIG), Path(sys.argv[1]))
"""


def script(tmp_path: Path, text: str, config: DataConfig) -> list[str]:
    path = tmp_path / "script.py"
    settings = repr(dataclasses.asdict(config))
    path.write_text(textwrap.dedent(text).replace("CONFIG", settings))
    return [sys.executable, str(path)]


def environment() -> dict[str, str]:
    # The first child to use threads of the tokenizers library must not be a fork of one that did.
    return os.environ | {"PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false"}


# Training a tokenizer adds a single write, so that a few moments of it are enough.
@pytest.mark.parametrize(("tokenizer", "stride"), [("bytes", 1), ("train:bpe:300", 5)])
def test_killed_at_every_write(
    config: DataConfig, tmp_path: Path, tokenizer: str, stride: int
) -> None:
    """SIGKILL before and after each rename, removal and tidying up, then a second start."""
    config = dataclasses.replace(config, tokenizer=tokenizer, shard_tokens=6_000, verify=False)
    prepare(config, tmp_path / "undisturbed")
    expected = contents(tmp_path / "undisturbed")
    killed = tmp_path / "killed"
    text = KILLED_AT_EACH_WRITE.replace("STRIDE", str(stride))
    command = [*script(tmp_path, text, config), str(killed)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    moments = int(done.stdout)
    assert moments > 50
    unfinished = 0
    for directory in killed.iterdir():
        unfinished += not (directory / "manifest.json").exists()
        prepare(config, directory)
        assert contents(directory) == expected, directory.name
    assert unfinished > 40 / stride


def test_killed_with_its_workers(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL of the parent at seeded instants; no worker outlives it for long."""
    monkeypatch.setattr(corpora, "_MIN_UNIT_BYTES", 500)
    config = dataclasses.replace(config, workers=2)
    prepare(config, tmp_path / "undisturbed")
    command = script(tmp_path, PREPARED, config)
    rng = random.Random(0)
    directory = tmp_path / "store"
    for records in (1, 20):
        process = subprocess.Popen(
            [*command, str(directory)],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        while len(list(directory.glob("building/*.npz"))) < records and process.poll() is None:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        # Workers hold the pipe open: it ends when the last of them has ended.
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, "it was not quick enough to finish"
    prepare(config, directory)
    assert contents(directory) == contents(tmp_path / "undisturbed")
