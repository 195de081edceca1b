"""Preparing that is interrupted: full disks, changed files, a second process, SIGKILL."""

import dataclasses
import errno
import fcntl
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lengthwise.common.errors import UserError
from lengthwise.data.config import ContaminationConfig, DataConfig
from lengthwise.data.prepare import store_builder, store_writer
from lengthwise.data.prepare.prepare import prepare
from lengthwise.data.prepare.unit_tasks import Progress, TokenizeTask
from lengthwise.data.sources import files
from tests.data.settings import change_source

ROOT = Path(__file__).parents[3]


def contents(directory: Path) -> dict[str, bytes]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def in_two_passes(config: DataConfig) -> DataConfig:
    """So that all is scanned before a token is written; else one reading does both."""
    return dataclasses.replace(config, duplicates="drop_exact")


def test_full_disk_loses_nothing(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = in_two_passes(config)
    prepare(config, tmp_path / "undisturbed")
    fsync, calls = os.fsync, iter(range(1_000))

    def full(file: int) -> None:
        if next(calls) >= 4:  # the list of the files of the source, and three units
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(
            UserError, match=r"could not be written .No space left on device.*start again"
        ):
            prepare(config, tmp_path / "store")
    assert not list((tmp_path / "store").rglob("*.tmp"))
    scanned: list[int] = []
    scan_unit = store_builder.scan_unit
    monkeypatch.setattr(
        store_builder, "scan_unit", lambda task: scanned.append(task.unit.index) or scan_unit(task)
    )
    prepare(config, tmp_path / "store")
    assert scanned
    assert min(scanned) == 3, "the three units that were written are kept"
    assert contents(tmp_path / "store") == contents(tmp_path / "undisturbed")


def interrupt_tokenizing(config: DataConfig, directory: Path, after: int) -> None:
    """Prepares until `after` units are tokenized, then raises."""
    calls = iter(range(1_000))

    def stopping(
        work: Callable[[TokenizeTask], Progress],
    ) -> Callable[[TokenizeTask], Progress]:
        def stop(task: TokenizeTask) -> Progress:
            if next(calls) == after:
                raise KeyboardInterrupt
            return work(task)

        return stop

    with pytest.MonkeyPatch.context() as patched:
        for name in ("tokenize_unit", "scan_and_tokenize_unit"):
            patched.setattr(store_builder, name, stopping(getattr(store_writer, name)))
        with pytest.raises(KeyboardInterrupt):
            prepare(config, directory)


@pytest.mark.parametrize("duplicates", ["keep", "drop_exact"])
def test_continuing_reads_changed_files_again(
    config: DataConfig, tmp_path: Path, duplicates: str
) -> None:
    config = dataclasses.replace(config, duplicates=duplicates)
    interrupt_tokenizing(config, tmp_path / "store", after=4)
    changed = tmp_path / "corpus" / "01.txt"
    changed.write_text("something else altogether " * 20)
    (tmp_path / "corpus" / "31.txt").write_text("a new one")
    prepare(config, tmp_path / "store")
    prepare(config, tmp_path / "undisturbed")
    assert contents(tmp_path / "store") == contents(tmp_path / "undisturbed")


def test_continuing_with_other_files_says_so(
    config: DataConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus"
    interrupt_tokenizing(config, tmp_path / "store", after=4)
    assert "note: " not in capsys.readouterr().out
    for number in range(5):
        (corpus / f"0{number}.txt").unlink()
    (corpus / "new.txt").write_text("a new one")
    interrupt_tokenizing(config, tmp_path / "store", after=4)
    prepare(config, tmp_path / "store")
    line = (
        "note: the source held 30 files when preparing began, now 26: 00.txt, 01.txt, 02.txt and "
        "2 more gone; new.txt new; the store is made of those that are there now"
    )
    assert capsys.readouterr().out.splitlines() == [line, line], "again, until it is finished"


def test_a_file_that_vanishes_while_preparing_is_named_at_the_next_start(
    config: DataConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "corpus" / "20.txt"

    def vanish(task: TokenizeTask) -> Progress:
        gone.unlink(missing_ok=True)
        return store_writer.scan_and_tokenize_unit(task)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store_builder, "scan_and_tokenize_unit", vanish)
        with pytest.raises(UserError, match=r"20\.txt"):
            prepare(config, tmp_path / "store")
    prepare(config, tmp_path / "store")
    assert "30 files when preparing began, now 29: 20.txt gone" in capsys.readouterr().out


def test_other_settings_are_not_compared_with_those_before(
    config: DataConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt_tokenizing(config, tmp_path / "store", after=4)
    prepare(change_source(config, pattern="0*.txt"), tmp_path / "store")
    assert "note: " not in capsys.readouterr().out


def test_continuing_under_other_settings_mixes_nothing(config: DataConfig, tmp_path: Path) -> None:
    interrupt_tokenizing(config, tmp_path / "store", after=4)
    config = dataclasses.replace(config, tokenizer="train:bpe:300", shard_tokens=400, split_seed=4)
    prepare(config, tmp_path / "store")
    prepare(config, tmp_path / "undisturbed")
    assert contents(tmp_path / "store") == contents(tmp_path / "undisturbed")


def test_a_file_that_changes_during_preparation(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = in_two_passes(config)
    changed = tmp_path / "corpus" / "20.txt"
    text, status = changed.read_text(), changed.stat()

    def change(task: TokenizeTask) -> Progress:
        changed.write_text(text[::-1])
        os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))  # the worst case
        return store_writer.tokenize_unit(task)

    with monkeypatch.context() as patched:
        patched.setattr("lengthwise.data.prepare.store_builder.tokenize_unit", change)
        with pytest.raises(UserError, match="the corpus changed during preparation"):
            prepare(config, tmp_path / "store")
    prepare(config, tmp_path / "store")
    prepare(config, tmp_path / "undisturbed")
    assert contents(tmp_path / "store") == contents(tmp_path / "undisturbed")


def test_a_unit_that_has_more_documents_when_it_is_tokenized(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps({"text": f"text {i} " + "x" * 990}) + "\n" for i in range(20)]
    path = tmp_path / "all.jsonl"
    path.write_text("".join(lines))
    status = path.stat()
    config = in_two_passes(change_source(config, source="jsonl", path=str(path)))

    def change(task: TokenizeTask) -> Progress:
        more = "".join(json.dumps({"text": f"more {i}"}) + "\n" for i in range(10))
        path.write_text(more.rstrip("\n").ljust(len(lines[0]) - 1) + "\n" + "".join(lines[1:]))
        assert path.stat().st_size == status.st_size
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return store_writer.tokenize_unit(task)

    monkeypatch.setattr("lengthwise.data.prepare.store_builder.tokenize_unit", change)
    with pytest.raises(
        UserError, match=r"changed during preparation \(near all\.jsonl\); run again"
    ):
        prepare(config, tmp_path / "store")


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
    import os, pickle, shutil, signal, sys
    from pathlib import Path
    from lengthwise.data.prepare.prepare import prepare
    from lengthwise.data.sources import files

    files.MIN_UNIT_BYTES = 4_000
    config, work = pickle.loads(CONFIG), Path(sys.argv[1])
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
    import pickle, sys
    from pathlib import Path
    from lengthwise.data.prepare.prepare import prepare
    from lengthwise.data.sources import files

    if __name__ == "__main__":
        files.MIN_UNIT_BYTES = 500
        prepare(pickle.loads(CONFIG), Path(sys.argv[1]))
"""


def script(tmp_path: Path, text: str, config: DataConfig) -> list[str]:
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(text).replace("CONFIG", repr(pickle.dumps(config))))
    return [sys.executable, str(path)]


def environment() -> dict[str, str]:
    # The first child to use threads of the tokenizers library must not be a fork of one that did.
    return os.environ | {"PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false"}


CHECK = ContaminationConfig(ngram=2, share=0.05, drop="training", sources=())


@pytest.mark.parametrize(
    ("changes", "stride"),
    [
        ({}, 1),
        ({"duplicates": "drop_near", "contamination": CHECK}, 8),
        # Training a tokenizer adds a single write, so that a few moments of it are enough.
        ({"tokenizer": "train:bpe:300"}, 9),
    ],
)
def test_killed_at_every_write(
    config: DataConfig, tmp_path: Path, changes: dict[str, Any], stride: int
) -> None:
    """SIGKILL before and after each rename, removal and tidying up, then a second start."""
    config = dataclasses.replace(config, shard_tokens=6_000, verify=False, **changes)
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ended_with_its_workers(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """At once, and without complaints of multiprocessing about what was left behind."""
    monkeypatch.setattr(files, "MIN_UNIT_BYTES", 500)
    config = dataclasses.replace(config, workers=2)
    directory = tmp_path / "store"
    process = subprocess.Popen(
        [*script(tmp_path, PREPARED, config), str(directory)],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell has what it starts in the background ignore SIGINT, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list(directory.glob("building/*.record")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: -signal.SIGINT}[number]
    assert "resource_tracker" not in errors
    prepare(config, directory)


def test_killed_with_its_workers(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL of the parent at seeded instants; no worker outlives it for long."""
    monkeypatch.setattr(files, "MIN_UNIT_BYTES", 500)
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
        while len(list(directory.glob("building/*.record"))) < records and process.poll() is None:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        # Workers hold the pipe open: it ends when the last of them has ended.
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, "it was not quick enough to finish"
    prepare(config, directory)
    assert contents(directory) == contents(tmp_path / "undisturbed")
