"""Outcomes of bad input by machine, by kind; see app/bad_input/.

    python -m lengthwise.benchmarks.app.bad_input --cases=20000 [--kinds=flags] [--first_seed=0]

Prints a table of outcomes, and each case that breaks the bound with its seed. The exit status is 1
where there is one.
"""

import collections
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from absl import flags

from lengthwise.app.bad_input.case import BROKEN, KINDS, Ending, Outcome, outcome
from lengthwise.app.command import flag_command
from lengthwise.common.progress import ProgressBar

_CASES = flags.DEFINE_integer("cases", 200, "Cases, shared out over the kinds.", lower_bound=1)
_FIRST = flags.DEFINE_integer("first_seed", 0, "Seed of the first case.", lower_bound=0)
_KINDS = flag_command.define_names("kinds", KINDS.names(), "Kinds of bad input.")
_SECONDS = flags.DEFINE_float("seconds", 60, "After which a case hangs.", lower_bound=1)


def outcomes(kinds: Sequence[str], cases: int, first: int, seconds: float) -> Iterator[Outcome]:
    """The outcome of each case, kinds in turn."""
    for number in ProgressBar(range(cases), "cases", unit="case"):
        kind, seed = kinds[number % len(kinds)], first + number // len(kinds)
        with tempfile.TemporaryDirectory() as folder:
            yield outcome(kind, seed, Path(folder), seconds)


def table(counts: dict[str, "collections.Counter[Ending]"]) -> str:
    """A row a kind, as Markdown."""
    lines = [f"| kind | cases | {' | '.join(Ending)} |", "|---" * (2 + len(Ending)) + "|"]
    for kind, endings in counts.items():
        figures = [endings.total(), *(endings[each] for each in Ending)]
        lines.append(f"| {kind} | {' | '.join(f'{n:,}' for n in figures)} |")
    return "\n".join(lines)


def main(_: Sequence[str]) -> int:
    """Prints what breaks the bound, then the table; returns the exit status."""
    kinds = _KINDS.value
    counts: dict[str, collections.Counter[Ending]] = {kind: collections.Counter() for kind in kinds}
    for each in outcomes(kinds, _CASES.value, _FIRST.value, _SECONDS.value):
        counts[each.kind][each.ending] += 1
        if each.ending in BROKEN:
            print(each, flush=True)
    print(table(counts))
    return int(any(endings[each] for endings in counts.values() for each in BROKEN))


if __name__ == "__main__":
    flag_command.run(main)
