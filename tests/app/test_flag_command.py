"""Commands with flags of their own: a wrong value is one line and status 2."""

import ast
import sys

import pytest
from absl import flags

from lengthwise.app.command import flag_command
from tests.app.runs import ROOT


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs a command of two list flags and a number: (status, what main got, lines of stderr)."""
    values = flags.FlagValues()
    monkeypatch.setattr(flag_command.flags, "FLAGS", values)
    flags.DEFINE_integer("rounds", 5, "Of each.", lower_bound=1, flag_values=values)
    made = [
        (flag_command._Numbers(2), "lengths", [256, 1024]),
        (flag_command._Names(["causal", "window"]), "masks", ["causal"]),
    ]
    for parser, name, default in made:
        flags.DEFINE(parser, name, default, "", flag_values=values)

    def run(*arguments, **options):
        got = []
        monkeypatch.setattr(sys, "argv", ["command", *arguments])
        with pytest.raises(SystemExit) as end:
            flag_command.run(
                lambda rest: got.append((values.rounds, values.lengths, values.masks, rest)),
                **options,
            )
        return end.value.code, got, capsys.readouterr().err.splitlines()

    return run


def test_values_arrive_as_what_they_are(command):
    assert command() == (0, [(5, [256, 1024], ["causal"], [])], [])
    given = command("--lengths=2,7", "--masks=window,causal", "--rounds=1")
    assert given == (0, [(1, [2, 7], ["window", "causal"], [])], [])
    assert command("x", "y", positional="a file")[1][0][3] == ["x", "y"]
    assert command(positional="a file", required=False)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["--rounds=0"], {}, "--rounds=0: 0 is not a positive integer"),
        (["--rounds=x"], {}, "--rounds=x"),
        (["--lengths=256,1"], {}, "--lengths=256,1: 1 is less than 2"),
        (["--lengths="], {}, "no whole numbers"),
        (["--lengths=256;512"], {}, "'256;512' are no whole numbers, such as 256,1024"),
        (["--masks=casual"], {}, "'casual' is unknown; choose of causal, window"),
        (["--round=5"], {}, "Unknown command line flag 'round'"),
        (["more"], {}, "unexpected argument 'more'"),
        ([], {"positional": "a file"}, "a file is missing"),
    ],
)
def test_a_wrong_value_is_one_line(command, arguments, options, message):
    status, got, (line,) = command(*arguments, **options)
    assert (status, got) == (2, [])
    assert line.startswith("error: ")
    assert message in line


BENCHMARKS = [
    path
    for path in sorted((ROOT / "benchmarks").rglob("*.py"))
    if '__name__ == "__main__"' in path.read_text() and path.name != "olmo_vsl.py"
]  # which runs in a Python without this package


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_every_number_of_a_benchmark_has_a_bound_that_is_checked(path):
    text = path.read_text()
    assert "flag_command.run(" in text or "cli.entry()" in text
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "DEFINE_list":  # whose items the command itself checks
                assert ast.literal_eval(node.args[0]) in ("topologies", "parts", "plans")
            if node.func.attr in ("DEFINE_integer", "DEFINE_float"):
                named = {each.arg for each in node.keywords}
                assert "lower_bound" in named, ast.unparse(node)
