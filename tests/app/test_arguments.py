"""A wrong command line or config file ends in one line and status 2, and leaves nothing."""

import re
import subprocess
import sys

import pytest

from lengthwise.app.command import cli
from lengthwise.app.harness import __main__ as harness
from lengthwise.common.errors import UserError
from lengthwise.common.settings import declarations
from lengthwise.configs.base import RunConfig
from lengthwise.experiments import run
from tests.app.runs import CONFIG, ROOT


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.model.layer=4", "unknown config field --config.model.layer; nearest: --config."
         "model.layers"),
        ("--config.train.steps=4", "--config.phase.steps"),
        ("--config.modl.layers=4", "nearest: --config.model.layers"),
        ("--config.phase.layout.tail=pad", "nearest: --config.phase.layout.tails"),
        ("--noconfig.model.tie_embedding", "nearest: --config.model.tie_embeddings"),
        ("--config.model.layers=x", "--config.model.layers=x: invalid literal"),
        ("--config.model.layers=2.5", "--config.model.layers=2.5: invalid literal"),
        ("--config.model.tie_embeddings=maybe", "--config.model.tie_embeddings=maybe"),
        ("--config.data=4", "--config.data=4"),
        ("--config.phases=4", "phases[0]=4 must be a dict"),
        ("--config.phases=({'step': 4},)", "phases[0].step is no field; choose one of"),
        ("--config.model.layers=0", "model.layers is 0, but must lie in [1, 10000]"),
        ("--config.phase.steps=0", "phases[0].steps is 0, but must lie in [1, inf)"),
        ("--config.optimizer.learning_rate=nan", "optimizer.learning_rate is nan"),
        ("--mode=evaluate", "train|eval|generate|prepare|plan"),
        ("--config.data.task.lengths=(1,9) --config.data.task.lengths=(1,5)", "is given twice"),
        ("--moed=eval", "Unknown command line flag 'moed'"),
        ("--config.optimizer.lr=1", "it is called --config.optimizer.learning_rate here"),
        ("--config.train.batch-size=8", "it is called --config.phase.tokens_per_step or --config."),
        ("--config.model.hidden_size=8", "it is called --config.model.embed_dim here"),
        ("--config.optimizer=adamw", "that is a section; set one of its fields: --config."),
        ("--config.output_dir=x", "it is called --workdir here"),
        ("--model.layers=6", "unknown flag --model.layers; fields of the config are set by "
         "--config.model.layers"),
        ("--n_layer=6", "unknown flag --n_layer; it is called --config.model.layers here"),
        ("--layers=6", "unknown flag --layers; nearest: --config.model.layers"),
        ("--config.model.positions.scheme=nope", "scheme='nope' is unknown (here it is called "
         "'none'); choose one of"),
        ("--config.optimizer.name=Adam", "(here it is called 'adamw')"),
        ("--config.model.compute_dtype=BF16", "(here it is called 'bfloat16')"),
        ("--flagfile=/nowhere", "Unable to open flagfile: [Errno 2] No such file or directory"),
        ("--workdir=gs://bucket/run", "--workdir='gs://bucket/run': mount the bucket (gcsfuse"),
        ("--config=gs://bucket/c.py", "--config='gs://bucket/c.py': mount the bucket (gcsfuse"),
        ("--config.data.store=gs://bucket/s", "data.store='gs://bucket/s': mount the bucket"),
        ("train", "unexpected argument 'train'"),
    ],
)  # fmt: skip
def test_a_wrong_argument(refused, tmp_path, argument, message):
    given = argument.split(" --")
    given = [given[0], *(f"--{each}" for each in given[1:])]
    assert message in refused(f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}", *given)
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("config", "argument", "message"),
    [
        (CONFIG, "--config.optimizer.warmup_steps=100000", "warmup_steps=100000 does not fit into"),
        (
            CONFIG,
            "--config.phase.curriculum.name=grown",
            "phase.curriculum.name='grown' is unknown",
        ),
        (
            "configs/task.py",
            "--config.model.num_heads=3",
            "model.num_heads=3 must be a multiple of",
        ),
        (
            CONFIG,
            "--config.optimizer.no_decay=('embeding',)",
            "'embeding' matches no parameter; nea",
        ),
        ("configs/task.py", "--config.eval.answers.lengths=(5,3,1)", "lengths=(5, 3) is empty"),
        ("configs/task.py", "--config.stopping.score=loss", "runs on a task stop by"),
        ("configs/task.py", "--config.eval.tasks=('niah_single_1',)", "score models of text"),
    ],
)
def test_what_no_corpus_can_put_right_is_told_before_it_is_read(
    refused, tmp_path, config, argument, message
):
    assert message in refused(f"--config={config}", f"--workdir={tmp_path}", argument)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([f"--config={CONFIG}"], "--workdir is missing"),
        ([f"--config={CONFIG}", "--workdir="], "--workdir is missing"),
        (["--workdir=run"], "--config is missing"),
        (
            ["--config=configs/nowhere.py", "--workdir=run"],
            "read: No such file or directory: .configs/nowhere.py.; those of the package are base",
        ),
        (["--config=quickstrat", "--workdir=run"], ": 'quickstrat'; those of .* quickstart, sky"),
        (["--config=quickstart"], "--workdir is missing"),
        (["--config=dd:160m"], "--workdir is missing"),
        (["--config=.", "--workdir=run"], "--config=. is a folder; name a file with get_config"),
        (["--config=", "--workdir=run"], "--config can't be read: the path is empty"),
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
        (
            "c = tiny.get_config()\n    c.optimizer.lr = 3",
            ":5: .*'lr' is called optimizer.learning_rate here",
        ),
        ("exit()", ":4: SystemExit: "),
    ],
)
def test_a_broken_config_file_is_named_with_its_line(refused, tmp_path, source, message):
    path = tmp_path / "mine.py"
    path.write_text(f"from tests import tiny\n\ndef get_config():\n    {source}\n")
    found = refused(f"--config={path}", f"--workdir={tmp_path / 'run'}")
    assert re.search(re.escape(str(path)) + message, found)


def test_help_names_the_flags():
    helped = subprocess.run(
        [sys.executable, "main.py", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert helped.returncode == 0
    assert "--workdir" in helped.stdout
    for name, declared in declarations(RunConfig):
        assert f"    {name} " in helped.stdout or f"    {name}\n" in helped.stdout
        assert repr(declared.default).split()[0] in helped.stdout
    assert "error" not in helped.stderr


def test_what_is_refused_waits_for_no_jax(tmp_path):
    code = "from lengthwise.app.command import cli, shell; import sys\n"
    code += "try:\n    cli.main(sys.argv)\nexcept Exception as error: print(error)\n"
    code += "assert not {'jax', 'flax', 'optax', 'grain', 'matplotlib'} & set(sys.modules)"
    for argument in ("--config.model.layers=0", "--config.modl.layers=1", "--help"):
        arguments = (argument, f"--config={CONFIG}", f"--workdir={tmp_path}")
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr


def test_an_interrupt_is_one_line_and_its_status(monkeypatch, capsys):
    def interrupted(argv, meeting):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    monkeypatch.setattr(sys, "argv", ["main.py", f"--config={CONFIG}", "--workdir=unused"])
    with pytest.raises(SystemExit) as ended:
        cli.entry()
    assert ended.value.code == 130
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("interrupted; the same command goes on from the last checkpoint, or")


def test_the_paths_of_other_commands_are_local_too(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for main, arguments in (
        (harness.main, ["--workdir=gs://bucket/run", "--tasks=x"]),
        (run.main, [next(iter(run.EXPERIMENTS)), "--directory=gs://bucket/runs"]),
    ):
        with pytest.raises(UserError, match=r"^--(workdir|directory)='gs://.*: mount the bucket"):
            main(arguments)
    assert not list(tmp_path.iterdir())
