"""What a user gets wrong ends in one line on stderr and status 2, and nothing is lost."""

import json
import logging
import os
import re
import resource
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from absl import flags

import main
import modes
from experiment import load
from tests import tiny
from train.metrics import read_rows
from train.peak import Peak

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "tests" / "tiny.py"
BAR = re.compile(r"\d+%\||\d+it \[|/s[,\]]")  # what tqdm draws
# One bucket: compiling is what takes time here.
RUN = (
    "--config.phase.steps=12",
    "--config.phase.budget_steps=12",
    "--config.phase.layout.smallest_bucket=32",
    "--config.phase.layout.largest_bucket=32",
    "--config.phase.layout.mixture=longest_first",
    "--config.model.dropout=0.0",
    "--config.train.checkpoint_every=4",
    "--config.train.eval_every=4",
)


def errors_in(text):
    """The lines of stderr that are no progress bar."""
    lines = [line.strip() for line in re.split(r"[\r\n]", text)]
    return [line for line in lines if line and not BAR.search(line)]


@pytest.fixture
def lengthwise(monkeypatch, capfd):
    """`python main.py` in this process: (status, stdout, lines of stderr)."""

    def run(*arguments):
        for name in [name for name in flags.FLAGS if name.startswith("config.")]:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()
        monkeypatch.setattr(sys, "argv", ["main.py", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main.entry()
        output = capfd.readouterr()
        return exit_.value.code, output.out, errors_in(output.err)

    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(modes, "device_peak", lambda *_: Peak(1e9, "not measured"))
    with warnings.catch_warnings():
        yield run
    for name in ("absl", "asyncio"):
        logging.getLogger(name).filters.clear()


@pytest.fixture
def refused(lengthwise):
    """Runs what must fail; returns its one line."""

    def run(*arguments):
        status, out, errors = lengthwise(*arguments)
        assert status == 2, out
        assert len(errors) == 1, errors
        assert errors[0].startswith("error: ")
        assert "Traceback" not in out
        return errors[0]

    return run


@pytest.fixture
def unscored(monkeypatch):
    """Runs end after training; the score of the selection split is the step."""
    monkeypatch.setattr(modes.Session, "_probe", lambda self, params, step: {"score": float(step)})
    monkeypatch.setattr(modes.Session, "_score", lambda self, checkpoints: None)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tiny.write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def store(tmp_path_factory, corpus):
    config = tiny.get_config()
    config.data.path = str(corpus)
    directory = tmp_path_factory.mktemp("store")
    modes.prepare(load(config, None).data, directory)
    return directory


@pytest.fixture
def data(corpus, store):
    return f"--config.data.path={corpus}", f"--config.data.store={store}"


@pytest.fixture
def start(tmp_path, data):
    """The arguments of a run in the test's own work directory."""
    return f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}", *data, *RUN


def steps_on_disk(workdir):
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())


def losses(workdir):
    rows = read_rows(workdir / "metrics.jsonl")
    return {row["step"]: row["loss"] for row in rows if row["kind"] == "train"}


# The command line


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.model.layer=4", "unknown config field --config.model.layer; nearest: --config."
         "model.layers"),
        ("--config.modl.layers=4", "nearest: --config.model.layers"),
        ("--config.phase.layout.tail=pad", "nearest: --config.phase.layout.tails"),
        ("--noconfig.model.qknorm", "nearest: --config.model.qk_norm"),
        ("--config.model.layers=x", "--config.model.layers=x: invalid literal"),
        ("--config.model.layers=2.5", "--config.model.layers=2.5: invalid literal"),
        ("--config.model.qk_norm=maybe", "--config.model.qk_norm=maybe"),
        ("--config.data=4", "--config.data=4"),
        ("--config.phases=4", "phases[0]=4 must be a dict"),
        ("--config.phases=({'step': 4},)", "phases[0].step is no field; choose one of"),
        ("--config.phase.steps=0", "phases.0.steps is 0, but must lie in [1, inf)"),
        ("--config.optimizer.learning_rate=nan", "optimizer.learning_rate is nan"),
        ("--mode=evaluate", "train|eval|prepare"),
        ("--moed=eval", "Unknown command line flag 'moed'"),
        ("train", "unexpected argument 'train'"),
    ],
)  # fmt: skip
def test_a_wrong_argument(refused, tmp_path, argument, message):
    assert message in refused(f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}", argument)
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([f"--config={CONFIG}"], "--workdir is missing"),
        ([f"--config={CONFIG}", "--workdir="], "--workdir is missing"),
        (["--workdir=run"], "--config is missing"),
        (["--config=configs/nowhere.py", "--workdir=run"], "can't be read: .*configs/nowhere.py"),
        (["--config=", "--workdir=run"], "--config can't be read"),
    ],
)
def test_a_missing_argument(refused, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert re.search(message, refused(*arguments))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("c = tiny.get_config()\n    c.model.layerz = 3", ':5: .*Did you mean "layers"'),
        ("raise ValueError('no such\\ncorpus')", ":4: ValueError: no such corpus"),
        ("return tiny.get_config(", ":4: SyntaxError: "),
        ("import nowhere", ":4: ModuleNotFoundError: No module named 'nowhere'"),
    ],
)
def test_a_broken_config_file_is_named_with_its_line(refused, tmp_path, source, message):
    path = tmp_path / "mine.py"
    path.write_text(f"from tests import tiny\n\ndef get_config():\n    {source}\n")
    found = refused(f"--config={path}", f"--workdir={tmp_path / 'run'}")
    assert re.search(re.escape(str(path)) + message, found)


# The corpus


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
    assert "no .jsonl or .jsonl.gz file there" in missing


def test_an_empty_corpus(prepare):
    assert "no file in" in prepare({})


def test_a_file_that_is_not_text(prepare):
    found = prepare({"good.txt": b"good", "bad.txt": b"abc\xff"})
    assert "bad.txt is not UTF-8 at byte 3" in found


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux's /proc")
def test_a_file_that_can_not_be_read(prepare, tmp_path):
    # Reading it fails for root too, whom file modes don't stop.
    (tmp_path / "broken").symlink_to("/proc/self/mem")
    assert "cannot read" in prepare({"good.txt": b"good"}, "--config.data.pattern=../broken")


def test_a_broken_json_line_is_named(prepare):
    lines = b'{"text": "one"}\n{"text": "two"}\n{"text": thr\n'
    found = prepare({"a.jsonl": lines}, "--config.data.source=jsonl")
    assert re.search(r"a\.jsonl\D+3\D.*broken JSON at column 10", found)


@pytest.mark.parametrize("mode", ["train", "prepare"])
def test_a_document_with_no_tokens_is_named(prepare, mode):
    found = prepare({"a.txt": b"some", "empty.txt": b""}, f"--mode={mode}")
    assert "empty.txt: a document with no tokens" in found
    assert "data.empty_documents='skip'" in found


# Sizes that don't fit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("phase.tokens_per_step=528", "tokens_per_step = 528 is not divisible by bucket 32"),
        ("phase.tokens_per_step=1048576", "no bucket holds the 1048576 tokens of one step"),
        ("eval.min_documents=40", "independent documents of at least .* eval.min_documents is 40"),
        ("eval.ratios=(1.0, 64.0)", "the report split has . independent documents of at least"),
        ("eval.sinks=32", "eval.sinks is 32, but the Lambda mask shows 32"),
        ("eval.scalings=('yarn',)", "unknown rope scaling 'yarn'"),
        ("model.num_kv_heads=3", "model.num_heads=2 must be a multiple of model.num_kv_heads=3"),
        ("mesh.tensor=3", "mesh.tensor=3 does not divide the 8 devices"),
    ],
)
def test_what_can_not_be_run_fails_before_training(refused, start, tmp_path, change, message):
    assert re.search(message, refused(*start, f"--config.{change}"))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert not (tmp_path / "run" / "config.json").exists()  # the directory is still free


# The work directory


@pytest.fixture
def claimed(tmp_path, corpus, store):
    """A work directory's config.json, as a run with other fields left it."""

    def write(**fields):
        config = tiny.get_config()
        config.update_from_flattened_dict(
            {"data.path": str(corpus), "data.store": str(store), **fields}
        )
        path = tmp_path / "run" / "config.json"
        path.parent.mkdir()
        path.write_text(json.dumps(load(config, None).resolved))
        return path

    return write


def test_a_directory_of_another_config_names_the_field(refused, claimed, data):
    path = claimed()
    before = path.read_bytes()
    common = (f"--config={CONFIG}", f"--workdir={path.parent}", *data)
    found = refused(*common, "--config.model.embed_dim=32")
    assert "belongs to another config: model.embed_dim: 16 -> 32 (saved -> asked)" in found
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b'{"seed": ', b"[]", b"\xff\xfe\x00", b""])
def test_a_damaged_config_json_is_named(refused, claimed, start, content):
    path = claimed()
    path.write_bytes(content)
    assert str(path) in refused(*start)
    assert path.read_bytes() == content


def test_there_is_nothing_to_score_without_a_run(refused, start, tmp_path):
    assert "holds no run" in refused(*start, "--mode=eval")
    assert not (tmp_path / "run" / "config.json").exists()


def test_there_is_nothing_to_score_without_a_checkpoint(refused, claimed, data):
    path = claimed()
    common = (f"--config={CONFIG}", f"--workdir={path.parent}", *data)
    assert "holds no checkpoint to score" in refused(*common, "--mode=eval")


@pytest.mark.parametrize(("which", "step"), [("best", 4), ("last", 12)])
def test_the_reported_checkpoint_is_the_chosen_one(
    lengthwise, start, tmp_path, monkeypatch, which, step
):
    with monkeypatch.context() as patch:
        patch.setattr(modes.Session, "_probe", lambda self, params, step: {"score": float(step)})
        patch.setattr(modes.Session, "_score", lambda self, checkpoints: None)
        assert lengthwise(*start)[0] == 0
    scored = []

    def evaluate(source, make_scorer, identity, config):
        scored.append(identity.checkpoint_step)
        raise modes.UserError("seen")

    monkeypatch.setattr(modes, "evaluate", evaluate)
    lengthwise(*start, "--mode=eval", f"--config.eval.checkpoint={which}")
    assert scored == [step]


# Training


def test_a_loss_that_is_no_number_and_the_way_on(refused, lengthwise, unscored, start, tmp_path):
    bad = ("--config.optimizer.learning_rate=1e18", "--config.train.checkpoint_every=1")
    found = refused(*start, *bad, "--config.optimizer.z_loss=0")
    steps = len(losses(tmp_path / "run"))
    kept = steps_on_disk(tmp_path / "run")[-1]
    assert f"at step {steps + 1} in bucket 32 " in found
    assert f"checkpoint {kept} is kept" in found
    config, _, *rest = start
    sane = (config, f"--workdir={tmp_path / 'sane'}", *rest)
    status, out, _ = lengthwise(*sane, f"--config.train.init_from={tmp_path / 'run'}")
    assert status == 0, out
    assert list(losses(tmp_path / "sane")) == list(range(1, 13))
    assert np.isfinite(list(losses(tmp_path / "sane").values())).all()


def test_a_store_that_changed_under_a_checkpoint(
    refused, lengthwise, unscored, tmp_path, corpus, start
):
    texts = shutil.copytree(corpus, tmp_path / "texts")
    config, workdir, *_ = start
    mine = (config, workdir, f"--config.data.path={texts}", *RUN)
    assert lengthwise(*mine)[0] == 0
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    shutil.rmtree(tmp_path / "run" / "store")  # the corpus makes the same again
    longer = (*mine, "--config.phase.steps=14")
    status, out, _ = lengthwise(*longer)
    assert status == 0, out
    assert "resuming at step 12 of 14" in out
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes().startswith(before[:1000])

    shutil.rmtree(tmp_path / "run" / "store")
    (texts / "000.txt").write_text("something else")
    assert "was trained on other data" in refused(*longer, "--config.phase.steps=16")
    assert steps_on_disk(tmp_path / "run")[-1] == 14


def test_init_from_what_does_not_fit(refused, lengthwise, unscored, start, tmp_path):
    config, _, *rest = start
    assert lengthwise(*start)[0] == 0
    other = (config, f"--workdir={tmp_path / 'other'}", *rest)
    there = f"--config.train.init_from={tmp_path / 'run'}"
    found = refused(*other, there, "--config.model.embed_dim=32")
    assert "holds another model: model.embed_dim: 16 -> 32 (there -> here)" in found
    shutil.rmtree(tmp_path / "other")
    assert "has no checkpoints" in refused(*other, f"--config.train.init_from={tmp_path}")
    # Fewer steps than the checkpoint has done.
    assert "at step 12, beyond the 8 steps" in refused(*start, "--config.phase.steps=8")
    assert steps_on_disk(tmp_path / "run")[-1] == 12


# A full disk


def goes_on(lengthwise, workdir, arguments, undisturbed):
    """Started again with room, the run ends as one whose disk was never full."""
    status, out, errors = lengthwise(*arguments)
    assert status == 0, errors
    assert re.search(r"resuming at step [1-9]", out)
    assert losses(workdir) == undisturbed


@pytest.fixture
def undisturbed(lengthwise, unscored, start, tmp_path):
    config, _, *rest = start
    workdir = tmp_path / "undisturbed"
    assert lengthwise(config, f"--workdir={workdir}", *rest)[0] == 0
    return losses(workdir)


def test_files_that_may_not_grow(refused, lengthwise, undisturbed, start, tmp_path):
    """The limit on a file's size fails a save as a full disk does, without a disk to fill."""
    assert lengthwise(*start, "--config.phase.steps=8")[0] == 0
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, unlimited[1]))
    try:
        found = refused(*start)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert "could not be written (File too large); step 8 is the last good one; make" in found
    assert steps_on_disk(tmp_path / "run")[-1] == 8
    goes_on(lengthwise, tmp_path / "run", start, undisturbed)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of 8 MB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(directory)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no mount command here: {error}")
    if mounted.returncode:
        pytest.skip(f"may not mount a small file system here: {mounted.stderr.strip()}")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def test_a_full_disk(lengthwise, undisturbed, start, small_disk):
    """In a process of its own, whose stderr holds all that libraries print on their way out."""
    workdir = small_disk / "run"
    config, _, *rest = start
    arguments = (config, f"--workdir={workdir}", *rest)
    assert lengthwise(*arguments, "--config.phase.steps=8")[0] == 0
    room = os.statvfs(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(room.f_bavail * room.f_frsize - 64_000))  # for the log alone
    found = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *arguments, "--config.train.eval_every=0"],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2
    lines = errors_in(found.stderr)
    assert len(lines) == 1, lines
    (line,) = lines
    assert line.startswith("error: ")
    assert "could not be written (No space left on device); step 8 is the last good one" in line
    assert steps_on_disk(workdir)[-1] == 8
    filler.unlink()
    goes_on(lengthwise, workdir, arguments, undisturbed)
