"""`python main.py` in this process, on a store that is made once."""

import logging
import sys
import warnings

import pytest
from absl import flags

from lengthwise.app import session
from lengthwise.app.command import cli
from lengthwise.app.session import Session
from lengthwise.app.text import TextScoring
from lengthwise.configs.resolve import load
from lengthwise.data.prepare.prepare import prepare
from lengthwise.train.machine.peak import Peak
from tests import tiny
from tests.app.runs import CONFIG, RUN, errors_in, score_of_step


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
            cli.entry()
        output = capfd.readouterr()
        return exit_.value.code, output.out, errors_in(output.err)

    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(session, "device_peak", lambda *_: Peak(1e9, "not measured"))
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
    monkeypatch.setattr(
        TextScoring,
        "probe",
        score_of_step,
    )
    monkeypatch.setattr(Session, "score_checkpoint", lambda self, checkpoints: None)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tiny.write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def store(tmp_path_factory, corpus):
    config = tiny.get_config()
    config.data.path = str(corpus)
    directory = tmp_path_factory.mktemp("store")
    prepare(load(config, None).data, directory)
    return directory


@pytest.fixture
def data(corpus, store):
    return f"--config.data.path={corpus}", f"--config.data.store={store}"


@pytest.fixture
def start(tmp_path, data):
    """The arguments of a run in the test's own work directory."""
    return f"--config={CONFIG}", f"--workdir={tmp_path / 'run'}", *data, *RUN
