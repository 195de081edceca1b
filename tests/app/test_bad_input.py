"""Bad input by machine: it works, or it is one line and status 2."""

import contextlib

import pytest

from lengthwise.app.bad_input.case import (
    BROKEN,
    KINDS,
    Case,
    Ending,
    SilentLossError,
    outcome,
)
from lengthwise.common.errors import UserError

CASES = 200  # of all kinds together
SLOW = {"checkpoints": 8, "run settings": 4}  # kinds that take longer than the rest have fewer


@pytest.mark.parametrize("kind", KINDS.names())
def test_every_case_works_or_is_one_line(kind, tmp_path):
    wrong = []
    quick = (CASES - sum(SLOW.values())) // (len(KINDS.names()) - len(SLOW))
    for seed in range(SLOW.get(kind, quick)):
        (tmp_path / str(seed)).mkdir()
        found = outcome(kind, seed, tmp_path / str(seed))
        if found.ending in BROKEN:
            wrong.append(str(found))
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("kind", KINDS.names())
def test_a_seed_gives_one_case(kind, tmp_path):
    """Else nobody could look at what a benchmark found."""
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        found.append(KINDS[kind](7, tmp_path / name).what.replace(str(tmp_path / name), ""))
    assert found[0] == found[1]


def raising(error):
    def run():
        raise error

    return run


def forever():
    while True:
        with contextlib.suppress(Exception):  # which a hang is none of
            sum(range(1000))


@pytest.mark.parametrize(
    ("run", "ending", "message"),
    [
        (lambda: None, Ending.WORKS, ""),
        (raising(UserError("a field\nis wrong")), Ending.REFUSED, "error: a field is wrong"),
        (raising(KeyError("kind")), Ending.TRACEBACK, "KeyError: 'kind'"),
        (raising(SilentLossError("2 of 3")), Ending.SILENT_LOSS, "2 of 3"),
        (forever, Ending.HANG, "no end after 0.1 seconds"),
    ],
)
def test_outcomes_are_told_apart(run, ending, message, tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS._registered, "planted", lambda seed, folder: Case("planted", run))
    found = outcome("planted", 0, tmp_path, seconds=0.1)
    assert found.ending == ending
    assert message in found.message
